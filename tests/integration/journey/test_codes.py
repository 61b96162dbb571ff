"""The address and its code: pauses, caps, tries, ends, and what makes a code worthless (R11, R12)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.journey.tables import code_sends, journey_events, requests
from api.mail.errors import AddressRefused, MailPostponed, MailRefused, MailUnavailable
from api.texts import Language
from issuer.registry.tables import stores
from policies.errors import (
    CodeExpired,
    CodeInvalid,
    CodeLocked,
    CodeMalformed,
    TermsOutdated,
    TooManyRequests,
    WrongState,
)
from policies.lifecycle import RequestState
from tests.fixtures.invariants import check_invariants, rows
from tests.fixtures.world import Person, World, on_postgresql_at_length, other_than


def set_email(world: World, person: Person, request_id: str, address: str = "mon@adresse.lu") -> str:
    world.verification.set_email(person, request_id, address, "modern", Language.FRENCH)
    return world.mail.last_code()


def with_limits(world: World, **limits: Any) -> None:
    """The same journey under other settings, as after a restart of web."""
    world.journey_config = msgspec.structs.replace(world.journey_config, **limits)
    world.start_web()


def test_five_wrong_tries_burn_a_code(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    for number in range(1, 6):
        with pytest.raises(CodeInvalid) as refused:
            world.verification.verify(person, begun.request_id, other_than(begun.code, number), None)
        assert refused.value.attempts_left == 5 - number
    # The right one comes too late, now and after its time.
    for minutes in (0, 6):
        world.clock.pass_time(minutes=minutes)
        with pytest.raises(CodeLocked):
            world.verification.verify(person, begun.request_id, begun.code, None)
    assert world.journey.find(person, begun.request_id).state is RequestState.CODE_SENT
    wrong = [event for event in rows(world, journey_events) if event["action"] == "code-wrong"]
    assert [event["details"]["attempts_left"] for event in wrong] == [4, 3, 2, 1, 0]
    # A new code has tries of its own.
    world.verification.resend(person, begun.request_id)
    with pytest.raises(CodeInvalid) as refused:
        world.verification.verify(person, begun.request_id, other_than(world.mail.last_code()), None)
    assert refused.value.attempts_left == 4
    world.verification.verify(person, begun.request_id, world.mail.last_code(), None)
    world.go_on()
    check_invariants(world)


def test_what_cannot_be_a_code_costs_no_try(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    with pytest.raises(CodeMalformed):
        world.verification.verify(person, begun.request_id, "12345", None)
    assert world.journey.find(person, begun.request_id).attempts_left == 5


@on_postgresql_at_length
@pytest.mark.parametrize(("seconds", "lives"), [(299.9, True), (300, False), (301, False)])
def test_a_code_lives_300_seconds(world: World, seconds: float, lives: bool) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    expires = world.journey.find(person, begun.request_id).code_expires_at
    assert expires is not None
    world.clock.now = expires
    world.clock.pass_time(seconds=seconds - 300)
    if lives:
        world.verification.verify(person, begun.request_id, begun.code, None)
        return
    with pytest.raises(CodeExpired):
        world.verification.verify(person, begun.request_id, begun.code, None)
    # No try was taken for it, and a new code is the way on.
    assert world.journey.find(person, begun.request_id).attempts_left == 5
    world.verification.resend(person, begun.request_id)
    world.verification.verify(person, begun.request_id, world.mail.last_code(), None)


def test_a_resend_waits_for_its_pause_and_makes_the_code_before_worthless(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    with pytest.raises(TooManyRequests) as refused:
        world.verification.resend(person, begun.request_id)
    assert refused.value.retry_after in (30, 31)
    assert len(world.mail.messages) == 1
    world.clock.pass_time(seconds=refused.value.retry_after or 0)
    world.verification.resend(person, begun.request_id)
    assert len(world.mail.messages) == 2
    assert world.mail.last_code() != begun.code
    with pytest.raises(CodeInvalid):
        world.verification.verify(person, begun.request_id, begun.code, None)
    world.verification.verify(person, begun.request_id, world.mail.last_code(), None)


def test_a_new_address_makes_the_code_before_worthless(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    # No pause: whoever mistyped an address mends it at once.
    code = set_email(world, person, begun.request_id, "other@example.com")
    assert world.mail.messages[-1]["To"] == "other@example.com"
    with pytest.raises(CodeInvalid):
        world.verification.verify(person, begun.request_id, begun.code, None)
    accepted = world.verification.verify(person, begun.request_id, code, None)
    assert accepted.request.email == "other@example.com"
    world.go_on()
    assert [store["email"] for store in rows(world, stores)] == ["other@example.com"]


def test_accepting_terms_again_makes_the_code_worthless(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.journey.accept_terms(person, begun.request_id, world.texts.terms_version, Language.GERMAN)
    with pytest.raises(WrongState):
        world.verification.verify(person, begun.request_id, begun.code, None)
    code = set_email(world, person, begun.request_id)
    world.verification.verify(person, begun.request_id, code, None)


def test_a_code_is_one_requests_alone(world: World) -> None:
    one, other = world.person(), world.person("2221212132")
    first = world.until_state(one, RequestState.CODE_SENT)
    second = world.until_state(other, RequestState.CODE_SENT)
    if first.code != second.code:
        with pytest.raises(CodeInvalid):
            world.verification.verify(other, second.request_id, first.code, None)
    # The same person's next request has another hash for the same code.
    again = world.until_state(one, RequestState.CODE_SENT)
    if first.code != again.code:
        with pytest.raises(CodeInvalid):
            world.verification.verify(one, again.request_id, first.code, None)
    hashes = [row["code_hmac"] for row in rows(world, requests)]
    assert all(hmac is None or len(hmac) == 32 for hmac in hashes)


def test_the_cap_of_a_request(world: World) -> None:
    with_limits(world, sends_per_request=3)
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    for _ in range(2):
        set_email(world, person, begun.request_id)
    world.clock.pass_time(seconds=31)
    for send in (world.verification.resend, lambda *_: set_email(world, person, begun.request_id)):
        with pytest.raises(TooManyRequests):
            send(person, begun.request_id)
    assert len(world.mail.messages) == 3
    # What was sent still counts; and a new request has codes of its own.
    world.verification.verify(person, begun.request_id, world.mail.last_code(), None)
    world.until_state(person, RequestState.CODE_SENT)


def test_the_caps_of_an_address_and_of_a_professional(world: World) -> None:
    with_limits(world, sends_per_hour=3)
    for number in range(3):
        world.until_code(world.person(f"222121213{number}"), "Shared@Example.com")
        world.clock.pass_time(minutes=10)
    stranger = world.person("2221212139")
    request = world.journey.start(stranger)
    world.journey.accept_terms(stranger, request.id, world.texts.terms_version, Language.FRENCH)
    with pytest.raises(TooManyRequests) as refused:
        set_email(world, stranger, request.id, "shared@example.com")
    # The first of the three will be an hour old in half an hour.
    assert 1795 < (refused.value.retry_after or 0) <= 1801
    # Another address is another cap; the stranger's own is reached with it.
    for _ in range(3):
        set_email(world, stranger, request.id, "own@example.com")
    with pytest.raises(TooManyRequests):
        set_email(world, stranger, request.id, "yet-another@example.com")
    world.clock.pass_time(minutes=61)
    set_email(world, stranger, request.id, "shared@example.com")
    assert all(len(row["address_hmac"]) == 32 for row in rows(world, code_sends))


@on_postgresql_at_length
@pytest.mark.parametrize(
    "failure", [MailUnavailable("down"), MailPostponed("later"), MailRefused("never"), AddressRefused("no")]
)
def test_a_code_that_could_not_be_sent_changes_nothing_and_counts_nothing(
    world: World, failure: Exception
) -> None:
    with_limits(world, sends_per_hour=2, sends_per_request=2)
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    before = world.journey.find(person, begun.request_id)
    world.clock.pass_time(seconds=31)
    world.mail.failing = failure
    for _ in range(5):
        with pytest.raises(type(failure)):
            world.verification.resend(person, begun.request_id)
        with pytest.raises(type(failure)):
            set_email(world, person, begun.request_id, "other@example.com")
    assert world.journey.find(person, begun.request_id) == before
    world.mail.failing = None
    # Its own code still counts, and the one send that is left is not used up.
    world.verification.resend(person, begun.request_id)
    world.verification.verify(person, begun.request_id, world.mail.last_code(), None)
    world.go_on()
    check_invariants(world)


def test_the_first_code_can_fail_too(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.TERMS_ACCEPTED)
    world.mail.failing = MailUnavailable("down")
    with pytest.raises(MailUnavailable):
        set_email(world, person, begun.request_id)
    assert world.journey.find(person, begun.request_id).state is RequestState.TERMS_ACCEPTED
    world.mail.failing = None
    set_email(world, person, begun.request_id)


def test_newer_terms_are_accepted_anew_before_anything_goes_on(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CODE_SENT)
    world.new_terms("2099-01")
    world.clock.pass_time(seconds=31)
    for step in (
        lambda: world.verification.verify(person, begun.request_id, begun.code, None),
        lambda: world.verification.resend(person, begun.request_id),
        lambda: set_email(world, person, begun.request_id),
    ):
        with pytest.raises(TermsOutdated):
            step()
    assert world.journey.find(person, begun.request_id).attempts_left == 5
    accepted = world.journey.accept_terms(person, begun.request_id, "2099-01", Language.FRENCH)
    assert (accepted.state, accepted.terms_version) == (RequestState.TERMS_ACCEPTED, "2099-01")
    code = set_email(world, person, begun.request_id)
    world.verification.verify(person, begun.request_id, code, None)
    world.go_on()
    assert [store["terms_version"] for store in rows(world, stores)] == ["2099-01"]
    check_invariants(world)


def test_terms_that_are_not_in_force_are_not_accepted(world: World) -> None:
    person = world.person()
    begun = world.until_state(person, RequestState.CREATED)
    for version in ("", "0", world.texts.terms_version + " "):
        with pytest.raises(TermsOutdated):
            world.journey.accept_terms(person, begun.request_id, version, Language.FRENCH)
    assert world.journey.find(person, begun.request_id).state is RequestState.CREATED
