"""docs/relying-services/nginx.md: its blocks in a real nginx."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

import pytest

from tests.fixtures.pages import block
from tests.fixtures.relying import NGINX_PAGE, Relied, Start, until
from tests.integration.relying.judging import (
    judge_by_crl,
    judge_by_ocsp,
    judge_sessions,
    listed,
    roll_over,
)

TLS = pytest.mark.parametrize(
    "newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name
)


@pytest.fixture
def reload(tmp_path: Path) -> tuple[str, ...]:
    """The command that the page gives to the script, for this nginx."""
    command = block(NGINX_PAGE, "roll-over").text.partition("sh -c '")[2].rpartition("'")[0]
    assert command
    return "sh", "-c", command.replace("nginx ", f"nginx -p {tmp_path} -c nginx.conf -e out.log ")


def test_ocsp_leaf(relied: Relied, nginx: Start) -> None:
    with nginx("ocsp.conf") as server:
        seen = relied.visitor(server.port, relied.good).visit()
        assert seen.headers["x-ehealthid"] == relied.good.number
        assert seen.headers["x-profession"] == "PS-001"
        judge_by_ocsp(relied, server)


def test_crl(relied: Relied, nginx: Start, crls: Path, reload: tuple[str, ...]) -> None:
    with nginx("crl.conf") as server:
        judge_by_crl(relied, server, crls, lambda: relied.fetch_crls(crls, *reload))


@pytest.mark.slow
def test_roll_over_refuses_nobody(relied: Relied, nginx: Start, crls: Path, reload: tuple[str, ...]) -> None:
    with nginx("crl.conf") as server:
        roll_over(relied, server, crls, reload)


@TLS
@pytest.mark.parametrize("name", ["ocsp.conf", "crl.conf"])
def test_no_session_outlives_a_deactivation(
    relied: Relied, nginx: Start, crls: Path, reload: tuple[str, ...], name: str, newest: ssl.TLSVersion
) -> None:
    with nginx(name) as server:
        judge_sessions(relied, server, crls, newest, lambda: relied.fetch_crls(crls, *reload))


@TLS
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ocsp.conf", "crl.conf"])
def test_what_the_page_says_of_a_shared_cache(
    relied: Relied, nginx: Start, crls: Path, reload: tuple[str, ...], name: str, newest: ssl.TLSVersion
) -> None:
    """By CRL a session is resumed past the deactivation; by OCSP a resumed one is asked for again."""
    leaving = relied.deliver()
    with nginx(name, {"ssl_session_cache off;": "ssl_session_cache shared:mycert:1m;"}) as server:
        visitor = relied.visitor(server.port, leaving, newest)
        assert visitor.visit().accepted
        leaving.deactivate()
        until(lambda: listed(relied, crls, leaving.certificate.serial_number), "never listed")
        relied.fetch_crls(crls, *reload)
        until(lambda: not relied.visitor(server.port, leaving, newest).visit().accepted, "still accepted")
        resumed = visitor.visit(resume=True)
        assert resumed.status == (200 if name == "crl.conf" else 400)


@pytest.mark.slow
def test_a_connection_is_not_kept_past_its_time(relied: Relied, nginx: Start) -> None:
    """The page's 60 seconds, made 2; asking without a pause does not prolong it."""
    leaving = relied.deliver()
    context = ssl.create_default_context(cafile=str(relied.folder / "server.pem"))
    context.load_cert_chain(leaving.folder / "chain.pem", leaving.folder / "key.pem")
    with nginx("ocsp.conf", {"keepalive_time 60s;": "keepalive_time 2s;"}) as server:
        kept = http.client.HTTPSConnection("localhost", server.port, context=context)

        def enters() -> bool:
            kept.request("GET", "/")
            answer = kept.getresponse()
            answer.read()
            return answer.status == 200

        assert enters()
        leaving.deactivate()
        until(lambda: not relied.visitor(server.port, leaving).visit().accepted, "still accepted")
        until(lambda: not enters(), "the connection outlived its time")
        kept.close()
