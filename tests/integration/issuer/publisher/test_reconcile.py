"""Every kind of difference, planted; and the alarm that the running publisher raises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from issuer.issuance.crl import build_crl
from issuer.issuance.templates import Issuer, serial_text
from issuer.publisher.loop import Differs, Publisher
from issuer.publisher.reconcile import compare
from issuer.registry.database import Database
from issuer.registry.tables import answers, crls, revocations
from tests.fixtures.pki import Pki, record_certificate, revoke
from tests.fixtures.publication import Site
from tests.integration.issuer.publisher.test_loop import YEAR, running, until
from tests.integration.issuer.publisher.test_publication import ahead

GOOD, REVOKED = 1, 2


@pytest.fixture
def published(site: Site) -> Site:
    """One good, one revoked, all told; a minute ago."""
    for serial in (GOOD, REVOKED):
        record_certificate(site.database, serial, site.clock(), life=YEAR)
    revoke(site.database, REVOKED, site.clock())
    site.answering.round()
    site.door.issue_crl("issuing")
    site.clock.pass_(minutes=2)
    return site


def found(site: Site) -> list[str]:
    issuer = Issuer.of("issuing", site.pki.issuing.certificate)
    with site.database.read() as connection:
        return [f"{one.where}: {one.what}" for one in compare(connection, issuer, site.clock())]


def execute(site: Site, statement: sa.Executable) -> None:
    with site.database.write() as connection:
        connection.execute(statement)


def no_crl(site: Site) -> None:
    execute(site, crls.delete())


def crl_over(site: Site) -> None:
    execute(site, crls.update().values(next_update=site.clock()))


def planted_crl(site: Site, pki: Pki, entries: list[bytes]) -> None:
    now = site.clock()
    der = build_crl(
        pki.issuing, number=7, this_update=now, next_update=now + timedelta(days=7), entries=entries
    )
    execute(site, crls.update().values(crl=der))


def forged_crl(site: Site) -> None:
    planted_crl(site, Pki.make(site.clock()), [])


def torn_crl(site: Site) -> None:
    execute(site, crls.update().values(crl=b"half a CR"))


def not_listed(site: Site) -> None:
    planted_crl(site, site.pki, [])


def listed_and_not_revoked(site: Site) -> None:
    """As a registry from a backup would have it: its revocation is gone."""
    execute(site, revocations.update().values(authority="other"))


def swapped(site: Site, serial: int, with_: int) -> None:
    with site.database.write() as connection:
        der = connection.execute(
            sa.select(answers.c.answer).where(
                answers.c.serial == serial_text(with_), answers.c.hash_algorithm == "sha1"
            )
        ).scalar_one()
        connection.execute(
            answers.update()
            .where(answers.c.serial == serial_text(serial), answers.c.hash_algorithm == "sha1")
            .values(answer=der)
        )


def good_for_revoked(site: Site) -> None:
    """The row says revoked, its octets say good."""
    revoke(site.database, GOOD, site.clock() - timedelta(minutes=1))
    execute(site, answers.update().values(status="revoked"))


def another_s(site: Site) -> None:
    swapped(site, GOOD, REVOKED)


def torn_answer(site: Site) -> None:
    execute(site, answers.update().where(answers.c.serial == serial_text(GOOD)).values(answer=b"half"))


def missing(site: Site) -> None:
    execute(site, answers.delete().where(answers.c.serial == serial_text(GOOD)))


def answer_over(site: Site) -> None:
    execute(site, answers.update().values(next_update=site.clock()))


def without_triggers(database: Database) -> None:
    """As somebody who may alter the schema would begin."""
    with database.write() as connection:
        if database.is_sqlite:
            names = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            statements = [f"DROP TRIGGER {name}" for name in connection.exec_driver_sql(names).scalars()]
        else:
            tables = ("crls", "answers", "revocations")
            statements = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in tables]
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (no_crl, "crl: none is published"),
        (crl_over, "crl: number 1 ends at"),
        (forged_crl, "crl: number 1: issuing: signed by another"),
        (torn_crl, "crl: number 1: issuing:"),
        (not_listed, "crl: 02 is revoked and not listed"),
        (good_for_revoked, "ocsp: 01 (sha1) is revoked, the answer is GOOD"),
        (another_s, "ocsp: 01 (sha1) is not revoked, the answer is another certificate's"),
        (torn_answer, "ocsp: 01 (sha256) is not revoked, the answer is no answer at all"),
        (missing, "ocsp: 01 has no answer that holds"),
        (answer_over, "ocsp: 01 has no answer that holds"),
    ],
)
def test_a_planted_difference_is_found(published: Site, plant: Callable[[Site], None], said: str) -> None:
    assert found(published) == []
    without_triggers(published.database)
    plant(published)
    assert any(one.startswith(said) for one in found(published)), found(published)


def test_listed_and_not_revoked(published: Site) -> None:
    without_triggers(published.database)
    listed_and_not_revoked(published)
    assert "crl: 02 is listed and not revoked" in found(published)
    assert any(one.startswith("ocsp: 02 (sha1) is not revoked") for one in found(published))


def test_what_is_on_its_way_is_no_difference(published: Site) -> None:
    revoke(published.database, GOOD, published.clock())
    record_certificate(published.database, 3, published.clock(), life=YEAR)
    assert found(published) == []
    published.clock.pass_(minutes=2)
    assert any(one.startswith("crl: 01 is revoked and not listed") for one in found(published))
    assert any(one.startswith("ocsp: 03 has no answer") for one in found(published))


def test_the_publisher_raises_the_alarm_while_there_is_time(published: Site) -> None:
    """Nothing is renewed, for whatever cause: told days before the CRL ends, hours before the answers do."""
    publisher = Publisher(published.signer, published.door)
    publisher.reconcile()
    published.clock.pass_(hours=9.1)
    with pytest.raises(Differs):
        publisher.reconcile()
    published.answering.round()
    publisher.reconcile()
    published.clock.pass_(days=3.9)
    published.answering.round()
    with pytest.raises(Differs):
        publisher.reconcile()
    assert REGISTRY.get_sample_value("mycert_publisher_differences", {"where": "crl"}) == 1
    published.door.issue_crl("issuing")
    publisher.reconcile()
    assert REGISTRY.get_sample_value("mycert_publisher_differences", {"where": "crl"}) == 0


def test_it_compares_again_and_again(make_site: Callable[..., Site], registry: object) -> None:
    site = make_site(registry, reconcile_every=0.2)
    record_certificate(site.database, GOOD, site.clock(), life=YEAR)
    with running(site) as publisher:
        until(lambda: ahead(site, GOOD) is not None and found(site) == [])
        torn_answer(site)
        until(lambda: publisher.failing == {"reconciliation": "Differs"})
        execute(site, answers.delete())  # Signed anew by the next look at all certificates.
        until(lambda: publisher.failing == {})
