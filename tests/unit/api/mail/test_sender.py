from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from api.mail.sender import BATCH, LEASE, OutboxSender
from api.mail.transport import MailConfig, Transport
from issuer.registry import outbox
from issuer.registry.tables import outbox as rows

PARAMETERS = {
    "serial_number": "00ff",
    "sha256_fingerprint": "00" * 32,
    "not_before": "2026-03-27T13:00:00+00:00",
    "not_after": "2028-03-27T13:00:00+00:00",
}


class Clock:
    now = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(open_sqlite_registry):
    return open_sqlite_registry()


def mailer(database, port: int, clock: Clock) -> OutboxSender:
    config = MailConfig(sender="no-reply@mycert.example", port=port, security="none", timeout=30)
    return OutboxSender(database, Transport(config), clock)


@pytest.fixture
def sender(database, smtp, clock) -> OutboxSender:
    return mailer(database, smtp.port, clock)


def enqueue(database, clock, *, count: int = 1, event: str = "issued") -> None:
    with database.write() as connection:
        for number in range(count):
            outbox.enqueue(
                connection,
                event=event,
                address=f"person-{number}@example.com",
                language="fr",
                parameters=PARAMETERS,
                store_id=None,
                now=clock(),
            )


def entries(database) -> list[sa.RowMapping]:
    with database.read() as connection:
        return list(connection.execute(sa.select(rows).order_by(rows.c.address)).mappings())


def test_what_is_due_is_sent_once(sender, database, smtp, clock):
    enqueue(database, clock, count=3)
    assert sender.send_due() == 3
    assert sender.send_due() == 0
    assert sorted(envelope.rcpt_tos[0] for envelope in smtp.received) == [
        f"person-{number}@example.com" for number in range(3)
    ]
    assert all(row["sent_at"] == clock() and row["due_at"] is None for row in entries(database))


def test_a_batch_goes_over_one_connection(sender, database, smtp, clock):
    enqueue(database, clock, count=3)
    sender.send_due()
    assert len(smtp.received) == 3
    assert smtp.connections == 1


def test_a_server_that_ends_the_connection_between_two_gets_the_next_over_a_new_one(
    sender, database, smtp, clock
):
    enqueue(database, clock, count=3)
    smtp.only_one = True
    assert sender.send_due() == 3
    assert len(smtp.received) == 3
    assert smtp.connections == 3
    assert all(row["sent_at"] and row["attempts"] == 1 for row in entries(database))


def test_while_the_server_is_down_nothing_is_lost_and_one_try_speaks_for_all(database, smtp, clock):
    enqueue(database, clock, count=3)
    down = mailer(database, 1, clock)
    for pause in (10, 30, 120, 600, 1800, 3600, 3600):
        assert down.send_due() == 3
        assert {row["due_at"] for row in entries(database)} == {clock() + timedelta(seconds=pause)}
        clock.advance(pause - 1)
        assert down.send_due() == 0
        clock.advance(1)
    assert mailer(database, smtp.port, clock).send_due() == 3
    assert len(smtp.received) == 3


def test_a_later_does_not_hold_up_the_others(sender, database, smtp, clock):
    enqueue(database, clock, count=2)
    smtp.answers["RCPT"] = "450 later"
    sender.send_due()
    assert [row["last_error"] for row in entries(database)] == ["SMTPRecipientsRefused 450"] * 2
    smtp.answers.clear()
    clock.advance(10)
    assert sender.send_due() == 2
    assert all(row["sent_at"] and row["last_error"] is None for row in entries(database))


def test_a_refusal_is_final_and_visible(sender, database, smtp, clock):
    enqueue(database, clock)
    smtp.answers["RCPT"] = "550 no such user"
    sender.send_due()
    (row,) = entries(database)
    assert row["refused_at"] == clock()
    assert row["due_at"] is None
    clock.advance(100_000)
    assert sender.send_due() == 0


def test_an_unwritable_entry_waits_for_a_release(sender, database, smtp, clock):
    enqueue(database, clock, event="new-event")
    enqueue(database, clock)
    assert sender.send_due() == 2
    assert len(smtp.received) == 1
    waiting = next(row for row in entries(database) if row["event"] == "new-event")
    assert waiting["due_at"] == clock() + timedelta(hours=1)


def test_a_crash_between_acceptance_and_mark_repeats_the_same_message(
    sender, database, smtp, clock, monkeypatch
):
    enqueue(database, clock)

    class Crash(BaseException):
        pass

    def crash(*args: object) -> None:
        raise Crash

    with monkeypatch.context() as broken, pytest.raises(Crash):
        broken.setattr(outbox, "mark_sent", crash)
        sender.send_due()
    assert sender.send_due() == 0, "leased"
    clock.advance(LEASE)
    assert sender.send_due() == 1
    first, second = (envelope.original_content for envelope in smtp.received)
    assert first == second
    assert sender.send_due() == 0


def test_two_mailers_send_nothing_twice(database, smtp, clock):
    enqueue(database, clock, count=3 * BATCH)
    stop, start = threading.Event(), threading.Barrier(3)

    def work() -> None:
        start.wait()
        mine = mailer(database, smtp.port, clock)
        while mine.send_due(stop):
            pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recipients = [envelope.rcpt_tos[0] for envelope in smtp.received]
    assert len(recipients) == len(set(recipients)) == 3 * BATCH


def test_the_loop_sends_stops_and_gives_back(sender, database, smtp, clock):
    stop = threading.Event()
    stop.set()
    enqueue(database, clock)
    assert sender.send_due(stop) == 1
    assert not smtp.received
    stop.clear()

    done = threading.Event()
    smtp.on_mail = done.set
    thread = threading.Thread(target=sender.run, args=(stop, 0.01))
    thread.start()
    assert done.wait(60)
    stop.set()
    thread.join()
