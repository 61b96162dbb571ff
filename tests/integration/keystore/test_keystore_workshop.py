"""Whole jobs by real workers."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.errors import WorkerFailed, WorkerTimeout, WorkshopError
from issuer.issuance.keystore.keypairs import KeyType, generate, public_bytes
from issuer.issuance.keystore.messages import KeystoreOrder, SealedKeystore
from issuer.issuance.keystore.sealing import SealRefused, open_sealed
from issuer.issuance.keystore.workshop import Workshop
from tests.fixtures.processes import MAY_BE_MISSING, alive, children, wait_until
from tests.fixtures.throwaway import ThrowawayAuthority
from tests.integration.keystore.conftest import CONTEXT, TOKEN, MakeOrder

TIME_TO_BEGIN = 1.5
"""Seconds of a job that shall run out of time, and must have begun before: tens of milliseconds, if alone."""


def make_store(workshop: Workshop, order: KeystoreOrder, authority: ThrowawayAuthority) -> SealedKeystore:
    with workshop.open(order) as job:
        return job.finish(authority.certify(job.public_key))


def opened(sealed: SealedKeystore) -> tuple[bytes, bytes]:
    """Password and file, as the holder gets them."""
    return (
        open_sealed(TOKEN, sealed.password, part="password", context=CONTEXT),
        open_sealed(TOKEN, sealed.keystore, part="keystore", context=CONTEXT),
    )


def template_pid(workshop: Workshop) -> int:
    pid = workshop.template_pid
    assert pid is not None
    return pid


@pytest.mark.parametrize("key_type", get_args(KeyType))
@pytest.mark.parametrize("profile", ["modern", "legacy"])
def test_a_store_of_every_kind_opens(
    key_type: KeyType,
    profile: str,
    workshop: Workshop,
    make_order: MakeOrder,
    authority: ThrowawayAuthority,
    tmp_path: Path,
) -> None:
    with workshop.open(make_order(key_type, profile)) as job:
        public_key = job.public_key
        password, keystore = opened(job.finish(authority.certify(public_key)))
    key = load_pkcs12(keystore, password).key
    assert key is not None
    assert key.public_key() == public_key
    file = tmp_path / "store.p12"
    file.write_bytes(keystore)
    command = ["openssl", "pkcs12", "-in", str(file), "-passin", "stdin", "-nodes", "-legacy"]
    output = subprocess.run(command, input=password, capture_output=True, check=True).stdout
    assert output.count(b"BEGIN CERTIFICATE") == 2
    assert output.count(b"BEGIN PRIVATE KEY") == 1


def test_only_the_token_and_the_context_of_the_order_open_it(
    workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    sealed = make_store(workshop, make_order(), authority)
    with pytest.raises(SealRefused):
        open_sealed(bytes(32), sealed.password, part="password", context=CONTEXT)
    with pytest.raises(SealRefused):
        open_sealed(TOKEN, sealed.keystore, part="keystore", context=b"another/store")
    with pytest.raises(SealRefused):
        open_sealed(TOKEN, sealed.password, part="keystore", context=CONTEXT)


@pytest.mark.parametrize("key_type", ["p-256", "rsa-2048"])
def test_no_two_workers_draw_the_same_random_numbers(
    key_type: KeyType, workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    """They are forked from one process, whose generators are warm."""
    keys, passwords, encapsulated = set(), set(), set()
    for _ in range(6):
        with workshop.open(make_order(key_type)) as job:
            keys.add(public_bytes(job.public_key))
            sealed = job.finish(authority.certify(job.public_key))
        passwords.add(opened(sealed)[0])
        encapsulated |= {sealed.password[:32], sealed.keystore[:32]}
    assert (len(keys), len(passwords), len(encapsulated)) == (6, 6, 12)


def test_jobs_run_at_the_same_time(
    workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    with workshop.open(make_order()) as first, workshop.open(make_order()) as second:
        assert len(children(template_pid(workshop))) == 2
        opened(second.finish(authority.certify(second.public_key)))
        opened(first.finish(authority.certify(first.public_key)))


def test_many_threads_share_a_workshop(
    workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: make_store(workshop, make_order(), authority), range(24)))
    assert len({opened(store)[0] for store in stores}) == 24
    wait_until(lambda: not children(template_pid(workshop)))


def test_a_certificate_over_another_key_makes_no_store(
    workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    other = public_bytes(generate("p-256").public_key())
    with workshop.open(make_order()) as job, pytest.raises(WorkerFailed, match="over another key"):
        job.finish(authority.certify(other))


@pytest.mark.parametrize("certificate", [b"no certificate", bytes(9_000)])
def test_what_is_no_certificate_makes_no_store(
    certificate: bytes, workshop: Workshop, make_order: MakeOrder
) -> None:
    with workshop.open(make_order()) as job, pytest.raises(WorkerFailed, match="failed"):
        job.finish(certificate)


def test_a_failure_says_nothing_of_what_it_was_about(workshop: Workshop, make_order: MakeOrder) -> None:
    with workshop.open(make_order()) as job, pytest.raises(WorkerFailed) as caught:
        job.finish(b"Jeanne Muller")
    assert str(caught.value) == "the keystore worker failed: ValueError"


def test_an_order_out_of_bounds_is_refused_before_a_worker_is_asked_for(config: KeystoreConfig) -> None:
    """The workshop was never started: any other order would wait for it in vain."""
    order = KeystoreOrder(
        key_type="p-256", recipient=b"", context=b"c", friendly_name="n", profile="modern", chain=[]
    )
    with pytest.raises(ValueError, match="recipient"), Workshop(config).open(order):
        pass


def test_leaving_without_a_certificate_ends_the_worker(workshop: Workshop, make_order: MakeOrder) -> None:
    with workshop.open(make_order()):
        (worker,) = children(template_pid(workshop))
    wait_until(lambda: not alive(worker))


def test_an_exception_of_the_caller_ends_the_worker(workshop: Workshop, make_order: MakeOrder) -> None:
    with pytest.raises(RuntimeError, match="the signature failed"), workshop.open(make_order()):
        (worker,) = children(template_pid(workshop))
        raise RuntimeError("the signature failed")
    wait_until(lambda: not alive(worker))


def test_a_worker_killed_half_way_fails_its_job_and_no_other(
    workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    with workshop.open(make_order()) as job:
        (worker,) = children(template_pid(workshop))
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerFailed, match="ended before it sealed"):
            job.finish(authority.certify(job.public_key))
    opened(make_store(workshop, make_order(), authority))


def test_a_worker_that_stands_still_times_out(make_order: MakeOrder, authority: ThrowawayAuthority) -> None:
    config = KeystoreConfig(allow_missing=MAY_BE_MISSING, wall_seconds=TIME_TO_BEGIN)
    with Workshop(config) as workshop, workshop.open(make_order()) as job:
        (worker,) = children(template_pid(workshop))
        os.kill(worker, signal.SIGSTOP)
        with pytest.raises(WorkerTimeout):
            job.finish(authority.certify(job.public_key))
        # Its own alarm is pending: it dies as soon as it may run again.
        os.kill(worker, signal.SIGCONT)
        wait_until(lambda: not alive(worker))


def test_a_worker_nobody_listens_to_ends_by_its_own_alarm(make_order: MakeOrder) -> None:
    config = KeystoreConfig(allow_missing=MAY_BE_MISSING, wall_seconds=TIME_TO_BEGIN)
    with Workshop(config) as workshop, workshop.open(make_order()):
        (worker,) = children(template_pid(workshop))
        wait_until(lambda: not alive(worker))


def test_no_more_workers_than_configured(make_order: MakeOrder) -> None:
    config = KeystoreConfig(allow_missing=MAY_BE_MISSING, wall_seconds=TIME_TO_BEGIN, workers=1)
    with Workshop(config) as workshop:
        with (
            workshop.open(make_order()),
            pytest.raises(WorkerTimeout, match="no worker was free"),
            workshop.open(make_order()),
        ):
            pass
        with workshop.open(make_order()) as job:
            assert job.public_key.key_size == 256


def test_a_killed_template_is_replaced(
    workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    for _ in range(2):
        before = template_pid(workshop)
        os.kill(before, signal.SIGKILL)
        # At once, while the old one is still dying: the job waits for the new one.
        opened(make_store(workshop, make_order(), authority))
        assert template_pid(workshop) != before


def test_a_killed_template_takes_its_workers_along(
    workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    with workshop.open(make_order()) as job:
        (worker,) = children(template_pid(workshop))
        os.kill(template_pid(workshop), signal.SIGKILL)
        wait_until(lambda: not alive(worker))
        with pytest.raises(WorkerFailed):
            job.finish(authority.certify(job.public_key))


def test_the_template_outlives_the_thread_that_asked_for_it(
    config: KeystoreConfig, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    """PR_SET_PDEATHSIG is about the parent's thread, not its process."""
    workshop = Workshop(config)
    thread = threading.Thread(target=workshop.start)
    thread.start()
    thread.join()
    first = template_pid(workshop)
    opened(make_store(workshop, make_order(), authority))
    assert template_pid(workshop) == first
    workshop.close()


def test_closing_ends_template_and_workers(config: KeystoreConfig, make_order: MakeOrder) -> None:
    workshop = Workshop(config)
    workshop.start()
    template = template_pid(workshop)
    with workshop.open(make_order()):
        (worker,) = children(template)
        workshop.close()
        wait_until(lambda: not alive(worker) and not alive(template))
    with pytest.raises(WorkshopError), workshop.open(make_order()):
        pass


def test_a_signal_to_the_whole_group_lets_a_job_under_way_finish(
    workshop: Workshop, make_order: MakeOrder, authority: ThrowawayAuthority
) -> None:
    """Control-C, or a service manager that stops every process of the service at once."""
    with workshop.open(make_order()) as job:
        (worker,) = children(template_pid(workshop))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(template_pid(workshop), number)
            os.kill(worker, number)
        opened(job.finish(authority.certify(job.public_key)))


def test_without_a_start_there_is_no_job(config: KeystoreConfig, make_order: MakeOrder) -> None:
    workshop = Workshop(msgspec.structs.replace(config, wall_seconds=1))
    with pytest.raises(WorkshopError, match="not running"), workshop.open(make_order()):
        pass
    assert workshop.template_pid is None
