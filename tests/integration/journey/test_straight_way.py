"""The straight way: from a start to an active, delivered store, and its deactivation."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from api.journey.tokens import base64url
from api.problems import RemoteProblem
from issuer.errors import DeliveryExpired, DeliveryTokenInvalid
from issuer.registry import tables
from policies.errors import ActiveStoreExists
from policies.lifecycle import RequestState, StoreStatus
from policies.reasons import DeactivationReason
from tests.fixtures.world import World


def test_a_professional_gets_one_store_and_ends_it(world: World) -> None:
    person = world.person()
    request_id, token = world.until_ready(person)
    assert world.journey.find(person, request_id).state is RequestState.READY

    text = base64url(token)
    password = world.journey.fetch(person, request_id, "password", text)
    keystore = world.journey.fetch(person, request_id, "keystore", text)
    opened = load_pkcs12(keystore, password)
    assert opened.cert is not None
    assert opened.cert.certificate.issuer == world.authority.certificate.subject

    assert world.journey.complete(person, request_id).state is RequestState.DELIVERED
    with pytest.raises(DeliveryExpired):
        world.journey.fetch(person, request_id, "password", text)
    (held,) = world.held_stores.all_of(person)
    assert (held.store.status, held.delivered) == (StoreStatus.ACTIVE, True)
    assert int(held.store.serial or "", 16) == opened.cert.certificate.serial_number
    with pytest.raises(ActiveStoreExists):
        world.journey.start(person)

    ended = world.held_stores.deactivate(person, held.store.id, DeactivationReason.FILE_LOST, confirmed=True)
    assert ended.store.status is StoreStatus.DEACTIVATED
    with pytest.raises(RemoteProblem, match="already-deactivated"):
        world.held_stores.deactivate(person, held.store.id, DeactivationReason.OTHER, confirmed=True)
    with world.registry.read() as connection:
        revoked = connection.execute(sa.select(tables.revocations)).one()
        assert (revoked.serial, revoked.reason) == (held.store.serial, "superseded")
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.deliveries)).scalar() == 0
        events = connection.execute(sa.select(tables.outbox.c.event).order_by(tables.outbox.c.created_at))
        assert list(events.scalars()) == ["issued", "deactivated"]
    assert world.journey.start(person).state is RequestState.CREATED


def test_only_the_token_that_ordered_opens_the_delivery(world: World) -> None:
    person = world.person()
    request_id, _ = world.until_ready(person)
    for wrong in (None, "", "short", base64url(b"x" * 32)):
        with pytest.raises(DeliveryTokenInvalid):
            world.journey.fetch(person, request_id, "password", wrong)
