from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from issuer.clock import system_random
from issuer.issuance.keystore.keypairs import generate, public_bytes, verify_proof
from issuer.issuance.keystore.messages import Job, KeyMade, KeystoreOrder
from issuer.issuance.keystore.rehearsal import rehearse
from issuer.issuance.keystore.sealing import derive_recipient, open_sealed
from issuer.issuance.keystore.worker import Refused, make_keystore
from tests.fixtures.throwaway import ThrowawayAuthority

TOKEN = bytes(range(32))
CONTEXT = b"request/store"


@pytest.fixture
def authority() -> ThrowawayAuthority:
    return ThrowawayAuthority()


@pytest.fixture
def job(authority: ThrowawayAuthority) -> Job:
    order = KeystoreOrder(
        key_type="p-256",
        recipient=derive_recipient(TOKEN),
        context=CONTEXT,
        friendly_name="myCert 1",
        profile="modern",
        chain=[authority.certificate],
    )
    return Job(order=order, rounds=2_048, nonce=bytes(32))


def test_what_is_sealed_is_the_store_and_its_password(job: Job, authority: ThrowawayAuthority) -> None:
    offered: list[KeyMade] = []

    def certify(made: KeyMade) -> bytes:
        offered.append(made)
        return authority.certify(made.public_key)

    sealed = make_keystore(job, certify, system_random)
    verify_proof("p-256", offered[0].public_key, job.nonce, offered[0].proof)
    password = open_sealed(TOKEN, sealed.password, part="password", context=CONTEXT)
    keystore = open_sealed(TOKEN, sealed.keystore, part="keystore", context=CONTEXT)
    key = load_pkcs12(keystore, password).key
    assert key is not None
    assert public_bytes(key.public_key()) == offered[0].public_key  # type: ignore[arg-type]


def test_a_certificate_over_another_key_is_refused(job: Job, authority: ThrowawayAuthority) -> None:
    other = public_bytes(generate("p-256").public_key())
    with pytest.raises(Refused, match="another key"):
        make_keystore(job, lambda _: authority.certify(other), system_random)


def test_the_rehearsal_runs_a_whole_job_of_either_profile() -> None:
    rehearse()
