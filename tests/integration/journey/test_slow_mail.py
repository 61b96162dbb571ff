"""A mail server that hangs costs whoever waits for it a bounded time, and nobody else anything (R11)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.mail.transport import MailConfig, Transport
from policies.lifecycle import RequestState
from tests.fixtures.door import Door
from tests.fixtures.smtp_gate import SmtpGate, smtp_gate

pytestmark = [
    pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning"),
    pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True),
]


@pytest.fixture
def hanging() -> Iterator[SmtpGate]:
    with smtp_gate() as gate:
        yield gate


def use(door: Door, server: SmtpGate, timeout: float) -> None:
    config = MailConfig(sender="mycert@test.invalid", port=server.port, security="none", timeout=timeout)
    door.world.steps.transport = Transport(config)


def begin(door: Door, who: str) -> str:
    begun = door.world.until_state(door.world.person(who), RequestState.TERMS_ACCEPTED)
    return f"/requests/{begun.request_id}"


def send(door: Door, who: str, path: str) -> str:
    body, person = {"email": f"{who}@example.com"}, {"ehealth_id": who}
    return str(door.call("PUT", f"{path}/email", json=body, person=person).json().get("code"))


def test_who_waits_for_a_hanging_mail_server_waits_alone(door: Door, hanging: SmtpGate) -> None:
    paths = {who: begin(door, who) for who in (f"222121{number:04d}" for number in range(12))}
    use(door, hanging, timeout=120.0)
    with ThreadPoolExecutor(len(paths)) as threads:
        sending = [threads.submit(send, door, who, path) for who, path in paths.items()]
        for _ in range(3):
            assert door.call("GET", "/stores").status_code == 200
            for who, path in paths.items():
                found = door.call("GET", path, person={"ehealth_id": who}).json()
                assert (found["state"], found["email"]) == ("terms-accepted", None)
        assert not any(one.done() for one in sending)
        hanging.close()
        assert {one.result() for one in sending} == {"mail-unavailable"}
    for who, path in paths.items():
        assert door.call("GET", path, person={"ehealth_id": who}).json()["state"] == "terms-accepted"


def test_the_wait_has_an_end(door: Door, hanging: SmtpGate) -> None:
    path = begin(door, "2221210000")
    use(door, hanging, timeout=0.2)
    assert send(door, "2221210000", path) == "mail-unavailable"
