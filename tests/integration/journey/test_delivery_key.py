"""A public key of the caller's own: web hands out ciphertext, and has nothing to open it with."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from api.journey.tokens import base64url
from issuer.errors import DeliveryTokenInvalid
from issuer.issuance.keystore.sealing import open_sealed
from issuer.registry.deliveries import Part, sealing_context
from policies.lifecycle import RequestState
from tests.fixtures.world import World

KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64url(KEY.public_key().public_bytes_raw())
PARTS: tuple[Part, ...] = ("password", "keystore")


def until_ready(world: World) -> str:
    person = world.person()
    request_id, code = world.until_code(person)
    for _ in range(2):  # A lost answer: the same call again is the same act.
        accepted = world.verification.verify(person, request_id, code, None, PUBLIC)
        assert accepted.token is None
    world.settle()
    assert world.journey.find(person, request_id).state is RequestState.READY
    return request_id


def test_only_the_callers_private_key_opens_what_is_handed_out(world: World) -> None:
    request_id = until_ready(world)
    person = world.person()
    (held,) = world.held_stores.all_of(person)
    context = sealing_context(request_id, held.store.id)
    password, keystore = (
        open_sealed(
            KEY.private_bytes_raw(),
            world.journey.fetch(person, request_id, part, None, PUBLIC),
            part=part,
            context=context,
        )
        for part in PARTS
    )
    assert load_pkcs12(keystore, password).key is not None
    for part in PARTS:
        assert password not in world.journey.fetch(person, request_id, part, None, PUBLIC)


def test_another_key_or_a_token_gets_nothing(world: World) -> None:
    request_id = until_ready(world)
    person = world.person()
    other = X25519PrivateKey.generate()
    for token, key in (
        (None, None),
        (None, base64url(other.public_key().public_bytes_raw())),
        (base64url(other.private_bytes_raw()), None),
        (base64url(KEY.private_bytes_raw()), PUBLIC),
    ):
        with pytest.raises(DeliveryTokenInvalid):
            world.journey.fetch(person, request_id, "password", token, key)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"short", bytes(33)], ids=len)
def test_a_key_to_which_anybody_could_open_is_refused_before_anything_begins(
    world: World, key: bytes
) -> None:
    person = world.person()
    request_id, code = world.until_code(person)
    with pytest.raises(DeliveryTokenInvalid):
        world.verification.verify(person, request_id, code, None, base64url(key))
    assert world.journey.find(person, request_id).state is RequestState.CODE_SENT


def test_ciphertext_that_does_not_open_is_an_invalid_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = world.person()
    request_id, token = world.until_ready(person)
    monkeypatch.setattr("api.journey.journey.sealing_context", lambda *_: b"another")
    with pytest.raises(DeliveryTokenInvalid):
        world.journey.fetch(person, request_id, "password", base64url(token))
