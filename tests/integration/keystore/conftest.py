from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.keypairs import KeyType
from issuer.issuance.keystore.messages import KeystoreOrder
from issuer.issuance.keystore.pkcs12 import Profile
from issuer.issuance.keystore.sealing import derive_recipient
from issuer.issuance.keystore.workshop import Workshop
from tests.fixtures.processes import MAY_BE_MISSING
from tests.fixtures.throwaway import ThrowawayAuthority

TOKEN = bytes(range(32))
CONTEXT = b"request/store"

MakeOrder = Callable[..., KeystoreOrder]


@pytest.fixture(scope="session")
def authority() -> ThrowawayAuthority:
    return ThrowawayAuthority()


@pytest.fixture(scope="session")
def make_order(authority: ThrowawayAuthority) -> MakeOrder:
    def make(key_type: KeyType = "p-256", profile: Profile = "modern") -> KeystoreOrder:
        return KeystoreOrder(
            key_type=key_type,
            recipient=derive_recipient(TOKEN),
            context=CONTEXT,
            friendly_name="myCert 0000000001",
            profile=profile,
            chain=[authority.certificate],
        )

    return make


@pytest.fixture
def config() -> KeystoreConfig:
    return KeystoreConfig(allow_missing=MAY_BE_MISSING, workers=2)


@pytest.fixture
def workshop(config: KeystoreConfig) -> Iterator[Workshop]:
    with Workshop(config) as started:
        yield started
