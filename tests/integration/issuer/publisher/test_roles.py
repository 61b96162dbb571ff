"""On PostgreSQL each process publishes with its own role, and can do no more than that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from api.status.config import StatusConfig
from api.status.follower import Follower
from api.status.index import Index
from issuer.publisher.config import PublisherConfig
from issuer.publisher.crl_issuer import CrlIssuer
from issuer.registry import grants
from issuer.registry.database import Database
from issuer.registry.migrate import SCRIPTS, upgrade
from issuer.registry.tables import answers, crls, revocations
from tests.fixtures.pki import HandClock, Pki, record_certificate, revoke
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.publication import build_site

OpenAs = Callable[[str], Database]


@pytest.fixture
def open_as(postgres_server: PostgresServer, postgres_database: Callable[..., str]) -> Iterator[OpenAs]:
    url = postgres_database()
    name = sa.engine.make_url(url).database
    assert name is not None
    opened = [Database(url, channel="registry")]
    upgrade(opened[0], SCRIPTS)
    with opened[0].write() as connection:
        for role in grants.missing_roles(connection, grants.REGISTRY):
            connection.execute(sa.text(f"CREATE ROLE {role} LOGIN"))
        grants.apply(connection, "registry", grants.REGISTRY)

    def open_it(process: str) -> Database:
        opened.append(Database(postgres_server.url(name, role=f"mycert_{process}"), channel="registry"))
        return opened[-1]

    yield open_it
    with opened[0].write() as connection:
        for role in grants.REGISTRY:
            connection.execute(sa.text(f"DROP OWNED BY {role}"))
            connection.execute(sa.text(f"DROP ROLE {role}"))
    for database in opened:
        database.close()


def test_each_role_can_do_its_part(open_as: OpenAs, clock: HandClock, tmp_path: Path) -> None:
    issuer, publisher, status = open_as("issuer"), open_as("publisher"), open_as("status")
    pki = Pki.make(clock())
    site = build_site(publisher, pki, clock, PublisherConfig())
    crl_issuer = CrlIssuer(issuer, pki.issuing, site.config, clock)
    index = Index(StatusConfig(), clock.monotonic)
    follower = Follower(
        database=status,
        kept=index,
        config=StatusConfig(),
        clock=clock,
        pki=tmp_path,
    )
    record_certificate(issuer, 1, clock(), life=timedelta(days=1))
    site.answering.round()
    follower.look()
    assert len(index) == 1
    revoke(issuer, 1, clock())
    assert crl_issuer.issue("issuing") == 1
    assert crl_issuer.issue("issuing", officer="anne") == 2
    site.answering.round()
    follower.look()
    assert index.vouches
    assert "issuing" in index.crls


@pytest.mark.parametrize(
    ("process", "statement"),
    [
        ("publisher", revocations.delete()),
        ("publisher", crls.update().values(covers=99)),
        ("publisher", crls.delete()),
        ("status", answers.delete()),
        ("status", sa.select(revocations.c.reason)),
        ("issuer", revocations.update().values(serial="00")),
        ("issuer", answers.delete()),
    ],
    ids=str,
)
def test_and_no_more(open_as: OpenAs, process: str, statement: sa.Executable) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), open_as(process).write() as connection:
        connection.execute(statement)
