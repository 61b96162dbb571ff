"""What is taken away comes back without a restart, and no handle outlives its generation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, ObjectClass

from hsm import keys
from hsm.errors import KeyMissing, SignatureWrong, TokenUnavailable
from hsm.signing import PrivateKey, probe_order
from hsm.token import Token
from tests.fixtures.softhsm import SoftHsm, make_key, sign_and_verify


@pytest.mark.parametrize("what", ["pull_all_tokens", "pull_the_token"])
def test_a_token_that_was_pulled_is_unavailable_until_it_is_back(
    token: Token, key: PrivateKey, behind: Any, what: str
) -> None:
    with getattr(behind, what)():
        for _ in range(2):
            with pytest.raises(TokenUnavailable):
                sign_and_verify(key)
            with pytest.raises(TokenUnavailable):
                token.probe("first")
        with pytest.raises(TokenUnavailable):
            token.inventory()
        with pytest.raises(TokenUnavailable):
            token.generate("another", "p-256")
    token.probe("first")
    sign_and_verify(key)
    sign_and_verify(make_key(token, "another"))


def test_a_token_pulled_and_back_between_two_signatures_is_not_noticed(key: PrivateKey, behind: Any) -> None:
    with behind.pull_the_token():
        pass
    sign_and_verify(key)


@pytest.mark.parametrize("deed", ["close_sessions", "log_out", "finalise"])
def test_what_happens_behind_its_back_is_recovered_within_the_call(
    token: Token, key: PrivateKey, behind: Any, deed: str
) -> None:
    generation = token.generation
    getattr(behind, deed)()
    sign_and_verify(key)
    assert token.generation > generation


@pytest.mark.parametrize("deed", ["close_sessions", "log_out", "finalise"])
def test_so_is_every_other_call(token: Token, key: PrivateKey, behind: Any, deed: str) -> None:
    calls: list[Callable[[], object]] = [
        token.inventory,
        lambda: token.public_key("first"),
        lambda: token.probe("first"),
        lambda: make_key(token, "second"),
    ]
    for call in calls:
        getattr(behind, deed)()
        call()
    assert len(token.inventory()) == 2


def test_threads_that_fail_together_recover_once(token: Token, key: PrivateKey, behind: Any) -> None:
    generation, together = token.generation, Event()

    def sign() -> None:
        together.wait()
        for _ in range(50):
            sign_and_verify(key)

    behind.close_sessions()
    with ThreadPoolExecutor(8) as threads:
        runs = [threads.submit(sign) for _ in range(8)]
        together.set()
        for run in runs:
            run.result()
    assert token.generation == generation + 1


def test_recovery_in_the_middle_of_signing(key: PrivateKey, behind: Any) -> None:
    done = Event()

    def sign() -> int:
        count = 0
        while not done.is_set():
            sign_and_verify(key)
            count += 1
        return count

    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(sign) for _ in range(2)]
        try:
            for _ in range(20):
                behind.close_sessions()
                sign_and_verify(key)
        finally:
            done.set()
        assert all(run.result() > 0 for run in runs)


def test_a_stale_handle_would_sign_with_another_key_and_never_does(
    softhsm: SoftHsm, token: Token, key: PrivateKey, other_key: PrivateKey, behind: Any
) -> None:
    """Numbers start again after C_Finalize: what was the first key's handle becomes the second's."""
    first, second = token._bound.values()
    token.close()
    token = softhsm.open(token._config)
    key = token.private_key("first", first.public_key)
    pool = token._pool
    assert pool is not None
    (stale,) = [handle for session in pool.idle.queue for handle in session.handles.values()]
    # The new generation meets the second key first, and numbers it as the old one did the first.
    token._bound = {second.label: second}
    replace(behind, token=token).close_sessions()
    other_key = token.private_key("second", second.public_key)
    sign_and_verify(other_key)
    assert token.generation == pool.generation + 1

    # The danger is real: the token takes the old handle, without a word.
    order = probe_order(second.public_key)
    order.accept(stale.sign(order.data, mechanism=order.mechanism))

    sign_and_verify(key)
    sign_and_verify(other_key)


def test_a_handle_of_another_key_is_caught_by_its_signature(
    token: Token, key: PrivateKey, other_key: PrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    for made in (key, other_key):
        sign_and_verify(made)
    first, second = token._bound.values()
    pool = token._pool
    assert pool is not None
    for session in pool.idle.queue:
        session.handles[first] = keys.find_bound(session.raw, second, ())
    with caplog.at_level(logging.WARNING):
        sign_and_verify(key)  # which verifies with the public key of the first
    assert "SignatureWrong" in caplog.text
    assert token.generation == pool.generation + 1


def test_a_token_that_keeps_signing_with_another_key_gets_nothing_out(
    token: Token, key: PrivateKey, other_key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(session: pkcs11.Session, identity: keys.KeyIdentity, accept: object) -> object:
        label = "first" if identity.label == "second" else "second"
        (handle,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})
        return handle

    with monkeypatch.context() as patched:
        patched.setattr(keys, "find_bound", wrong)
        for session in token._pool.idle.queue:  # type: ignore[union-attr]
            session.handles.clear()
        for _ in range(2):
            with pytest.raises(SignatureWrong):
                sign_and_verify(key)
    sign_and_verify(key)


def test_a_key_destroyed_in_service_is_missing(
    token: Token, key: PrivateKey, write: Callable[[Callable[[pkcs11.Session], object]], None]
) -> None:
    def destroy(session: pkcs11.Session) -> None:
        for item in list(session.get_objects({Attribute.LABEL: "first"})):
            item.destroy()

    write(destroy)
    with pytest.raises(KeyMissing):
        sign_and_verify(key)


def test_two_tokens_of_a_process_recover_without_ending_each_other(softhsm: SoftHsm) -> None:
    one, two = (softhsm.open(softhsm.initialise(label)) for label in ("one", "two"))
    pairs = [(one, make_key(one, "a")), (two, make_key(two, "b"))]
    for _, key in pairs:
        sign_and_verify(key)
    generation = one.generation
    one._pool.keeper.close()  # type: ignore[union-attr]
    for session in one._pool.idle.queue:  # type: ignore[union-attr]
        session.raw.close()
    for _ in range(3):
        for _, key in pairs:
            sign_and_verify(key)
    assert one.generation == two.generation == generation + 1


def test_one_token_of_two_may_be_gone(softhsm: SoftHsm) -> None:
    one = softhsm.open(softhsm.initialise("one"))
    (folder,) = softhsm.tokens.iterdir()
    two = softhsm.open(softhsm.initialise("two"))
    keys_made = [make_key(one, "a"), make_key(two, "b")]
    away = folder.rename(softhsm.home / "away")
    for _ in range(2):
        with pytest.raises(TokenUnavailable):
            sign_and_verify(keys_made[0])
        sign_and_verify(keys_made[1])
    away.rename(folder)
    for key in keys_made:
        sign_and_verify(key)


def test_a_closed_token_signs_no_more(token: Token, key: PrivateKey) -> None:
    token.close()
    token.close()
    with pytest.raises(TokenUnavailable, match="closed"):
        sign_and_verify(key)
