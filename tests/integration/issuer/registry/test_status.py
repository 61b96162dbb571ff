"""Numbers that are seen in their order, on both databases, whoever commits first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from issuer.registry import answers, crls, status
from issuer.registry.answers import Answer
from issuer.registry.changes import Changes
from issuer.registry.database import Database
from issuer.registry.tables import certificates
from policies.reasons import X509Reason
from tests.fixtures.registries import OpenRegistry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def add_certificate(
    database: Database, serial: str, *, not_after: datetime = NOW + 700 * DAY, signed: bool = True
) -> None:
    with database.write() as connection:
        connection.execute(
            certificates.insert().values(
                serial=serial,
                authority="issuing",
                profile="professional",
                tbs=b"tbs",
                certificate=b"certificate" if signed else None,
                not_before=NOW - DAY,
                not_after=not_after,
                created_at=NOW - DAY,
            )
        )


def revoke_in(connection: sa.Connection, serial: str) -> None:
    status.revoke(
        connection,
        serial=serial,
        authority="issuing",
        reason=X509Reason.SUPERSEDED,
        entry=f"entry-{serial}".encode(),
        now=NOW,
    )


def revoke(database: Database, serial: str) -> None:
    with database.write() as connection:
        revoke_in(connection, serial)


def an_answer(serial: str, standing: str = "good", *, ends: datetime = NOW + DAY) -> Answer:
    return Answer(
        authority="issuing",
        serial=serial,
        hash_algorithm="sha1",
        status=standing,
        this_update=NOW,
        next_update=ends,
        answer=f"{standing}-{serial}".encode(),
    )


def put(database: Database, *fresh: Answer) -> None:
    with database.write() as connection:
        answers.replace(connection, "issuing", fresh)


def due(database: Database, *, renew_before: datetime = NOW, revoked_after: int | None = None) -> list[str]:
    with database.read() as connection:
        found = status.subjects_due(
            connection,
            "issuing",
            now=NOW,
            renew_before=renew_before,
            limit=100,
            revoked_after=revoked_after,
        )
    return [one.serial for one in found]


def test_revocations_are_numbered_without_gaps(registry: Database) -> None:
    serials = [f"{number:02x}" for number in range(1, 41)]
    for serial in serials:
        add_certificate(registry, serial)
    # Each serial twice, at the same time: the second changes nothing.
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda serial: revoke(registry, serial), serials * 2))
    with registry.read() as connection:
        found = status.revoked_after(connection, "issuing", 0)
        assert status.revoked_after(connection, "root", 0) == []
        assert status.last_revocation(connection, "issuing") == 40
        assert status.last_revocation(connection, "root") == 0
    assert [one.sequence for one in found] == list(range(1, 41))
    assert {one.serial for one in found} == set(serials)


def test_a_revocation_waits_for_the_number_before_its_own(registry: Database) -> None:
    """While 1 is not committed nobody can see 2; given up, 1 is used again."""
    for serial in ("01", "02"):
        add_certificate(registry, serial)
    other = threading.Thread(target=revoke, args=(registry, "02"))
    with pytest.raises(RuntimeError), registry.write() as connection:
        revoke_in(connection, "01")
        other.start()
        other.join(0.3)
        assert other.is_alive()
        raise RuntimeError
    other.join()
    with registry.read() as connection:
        (found,) = status.revoked_after(connection, "issuing", 0)
    assert (found.sequence, found.serial) == (1, "02")


def test_a_late_commit_is_not_covered_by_an_earlier_crl(registry: Database) -> None:
    """The revocation bears a moment before the CRL's thisUpdate, and is committed after it was read."""
    for serial in ("01", "02"):
        add_certificate(registry, serial)
    revoke(registry, "01")
    with registry.read() as connection:
        content = crls.content(connection, "issuing", NOW)
    revoke(registry, "02")
    assert content == crls.CrlContent(entries=[b"entry-01"], covers=1)
    with registry.write() as connection:
        number = crls.reserve(
            connection, "issuing", this_update=NOW + DAY, next_update=NOW + 2 * DAY, entries=1, covers=1
        )
        crls.publish(connection, "issuing", number, b"crl")
        assert status.oldest_revocation_after(connection, "issuing", 1) == NOW


def test_crl_numbers_rise_and_coverage_never_falls(registry: Database) -> None:
    def reserve(covers: int) -> int:
        with registry.write() as connection:
            return crls.reserve(
                connection, "issuing", this_update=NOW, next_update=NOW + DAY, entries=0, covers=covers
            )

    def publish(number: int) -> None:
        with registry.write() as connection:
            crls.publish(connection, "issuing", number, f"crl-{number}".encode())

    first, second, third = reserve(5), reserve(7), reserve(6)
    assert (first, second, third) == (1, 2, 3)
    publish(second)
    with pytest.raises(crls.CrlSuperseded):
        publish(first)
    with pytest.raises(crls.CrlSuperseded):
        publish(third)
    with registry.read() as connection:
        current = crls.current(connection, "issuing")
        assert crls.read(connection, "issuing", 2) == b"crl-2"
        assert crls.read(connection, "issuing", 1) is None
    assert current is not None
    assert (current.number, current.covers) == (2, 7)
    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(reserve, [7] * 8)) == list(range(4, 12))


def test_content_keeps_a_revoked_certificate_until_it_is_forgotten(registry: Database) -> None:
    add_certificate(registry, "01", not_after=NOW)
    add_certificate(registry, "02", not_after=NOW - DAY)
    revoke(registry, "01")
    revoke(registry, "02")
    with registry.read() as connection:
        assert crls.content(connection, "issuing", NOW).entries == [b"entry-01"]
        assert crls.content(connection, "issuing", NOW - DAY).entries == [b"entry-01", b"entry-02"]


def test_what_is_due(registry: Database) -> None:
    for serial in ("01", "02", "03", "04"):
        add_certificate(registry, serial)
    add_certificate(registry, "05", signed=False)
    add_certificate(registry, "06", not_after=NOW - DAY)
    add_certificate(registry, "07", signed=False)
    revoke(registry, "03")
    revoke(registry, "07")  # Its signature may exist.
    found = due(registry)
    assert set(found[:2]) == {"03", "07"}
    assert sorted(found[2:]) == ["01", "02", "04"]
    assert due(registry, revoked_after=0) == ["03", "07"]
    assert due(registry, revoked_after=1) == ["07"]

    put(registry, *(an_answer(serial) for serial in ("01", "02", "03", "04", "07")))
    assert due(registry) == ["03", "07"]  # The revoked ones were given no good answer.
    put(registry, an_answer("03", "revoked"), an_answer("07", "revoked", ends=NOW + timedelta(hours=1)))
    assert due(registry) == []
    assert due(registry, renew_before=NOW + timedelta(hours=2)) == ["07"]
    revoke(registry, "02")
    assert due(registry) == due(registry, revoked_after=2) == ["02"]


def test_answers_of_the_future_are_signed_again(registry: Database) -> None:
    """The clock was wrong, and was put back."""
    add_certificate(registry, "01")
    put(registry, an_answer("01"))
    assert due(registry) == []
    with registry.read() as connection:
        earlier = status.subjects_due(connection, "issuing", now=NOW - DAY, renew_before=NOW - DAY, limit=1)
    assert [one.serial for one in earlier] == ["01"]


def test_followers_read_batch_after_batch(registry: Database) -> None:
    def after(batch: int) -> list[bytes]:
        with registry.read() as connection:
            return sorted(one.answer for one in answers.after_batch(connection, "issuing", batch))

    def last() -> int:
        with registry.read() as connection:
            return status.marks(connection, "issuing").batch

    for serial in ("01", "02", "03"):
        add_certificate(registry, serial)
    assert last() == 0
    put(registry, an_answer("01"), an_answer("02"))
    assert (last(), after(0)) == (1, [b"good-01", b"good-02"])
    put(registry, an_answer("03", ends=NOW - DAY))
    assert after(1) == [b"good-03"]
    revoke(registry, "01")
    put(registry, an_answer("01", "revoked"))
    assert after(2) == [b"revoked-01"]
    put(registry, an_answer("01", "good"))
    assert after(2) == [b"revoked-01"]
    with registry.write() as connection:
        assert answers.earliest_end(connection, "issuing") == NOW - DAY
        assert answers.drop_ended(connection, "issuing", NOW) == 1
    assert after(0) == [b"good-02", b"revoked-01"]
    assert last() == 4


def test_a_batch_waits_for_the_batch_before_it(registry: Database) -> None:
    """A slow publisher that knew of no revocation cannot overwrite what came after it."""
    add_certificate(registry, "01")
    quick = threading.Thread(target=put, args=(registry, an_answer("01", "revoked")))
    with registry.write() as connection:
        answers.replace(connection, "issuing", [an_answer("01")])
        quick.start()
        quick.join(0.3)
        assert quick.is_alive()
    quick.join()
    with registry.read() as connection:
        (found,) = answers.after_batch(connection, "issuing", 0)
    assert (found.serial, found.status) == ("01", "revoked")


def test_subject_of_a_serial(registry: Database) -> None:
    add_certificate(registry, "01")
    add_certificate(registry, "02", signed=False)
    with registry.read() as connection:
        known = status.subject(connection, "issuing", "01")
        assert status.subject(connection, "issuing", "02") is None
        assert status.subject(connection, "issuing", "03") is None
        assert status.subject(connection, "root", "01") is None
    assert known is not None
    assert known.revocation is None
    revoke(registry, "01")
    with registry.read() as connection:
        known = status.subject(connection, "issuing", "01")
    assert known is not None
    assert known.revocation is not None
    assert known.revocation.reason is X509Reason.SUPERSEDED


def test_a_commit_of_another_connection_wakes_a_follower(open_registry: OpenRegistry) -> None:
    writer, reader = open_registry(), open_registry(read_only=True)
    add_certificate(writer, "01")
    woken = threading.Event()
    with Changes(reader) as changes:
        assert changes.wait(0)
        while changes.wait(0):
            pass
        with writer.write() as connection:
            status.last_revocation(connection, "issuing")
        assert not changes.wait(0.1), "nothing was changed"

        def follow() -> None:
            if changes.wait(120):
                woken.set()

        follower = threading.Thread(target=follow)
        follower.start()
        revoke(writer, "01")
        assert woken.wait(60)
        follower.join()
