"""docs/relying-services/apache.md: its blocks in a real Apache."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.pages import block
from tests.fixtures.relying import Relied
from tests.fixtures.servers import Server, free_port, serving
from tests.integration.relying.judging import judge_by_crl, judge_by_ocsp, judge_sessions, roll_over

PAGE = "relying-services/apache.md"
MODULES = ("mpm_event", "authz_core", "ssl", "headers", "setenvif", "proxy", "proxy_http", "socache_shmcb")
Start = Callable[..., contextlib.AbstractContextManager[Server]]
pytestmark = pytest.mark.slow


@pytest.fixture
def apache(relied: Relied, crls: Path, tmp_path: Path) -> Start:
    """``apache(block, more replacements)``, with the rest that a distribution's apache2.conf has."""

    @contextlib.contextmanager
    def start(name: str, changed: dict[str, object] | None = None) -> Iterator[Server]:
        port = free_port()
        places: dict[str, object] = {
            "<VirtualHost *:443>": f"<VirtualHost 127.0.0.1:{port}>",
            "/etc/apache2/server": relied.folder / "server",
            "/etc/apache2/mycert/trust.pem": relied.trust,
            "127.0.0.1:8080": f"127.0.0.1:{relied.behind.port}",
        }
        if name == "crl.conf":
            places["/etc/apache2/mycert/crls.pem"] = crls
        loaded = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in MODULES)
        (tmp_path / "httpd.conf").write_text(
            f"{loaded}Listen 127.0.0.1:{port}\nServerName localhost\nPidFile {tmp_path}/pid\n"
            f"DefaultRuntimeDir {tmp_path}\nErrorLog {tmp_path}/out.log\nLogLevel info\n"
            "User www-data\nGroup www-data\n" + block(PAGE, name).filled(places | (changed or {}))
        )
        command = ["apache2", "-d", str(tmp_path), "-f", str(tmp_path / "httpd.conf"), "-DFOREGROUND"]
        with serving(command, port, tmp_path) as server:
            yield server

    return start


@pytest.fixture
def reload(tmp_path: Path) -> tuple[str, ...]:
    assert block(PAGE, "roll-over").text.rstrip().endswith("apache2ctl graceful")
    return "apache2", "-d", str(tmp_path), "-f", str(tmp_path / "httpd.conf"), "-k", "graceful"


def test_ocsp_leaf_with_nonces(relied: Relied, apache: Start) -> None:
    with apache("ocsp.conf") as server:
        seen = relied.visitor(server.port, relied.good).visit()
        assert seen.accepted, server.said
        assert seen.headers["x-ehealthid"] == relied.good.number
        assert seen.headers["x-profession"] == "PS-001"
        judge_by_ocsp(relied, server)


def test_an_answer_without_its_nonce_is_refused(relied: Relied, apache: Start) -> None:
    """Everything else about it is sound: an answer that was signed ahead for everybody."""
    kept = relied.answer_without_nonce()
    with apache("ocsp.conf") as server:
        assert relied.visitor(server.port, relied.good).visit().accepted
        with relied.front.lying("/pki/ocsp", lambda _: kept):
            assert not relied.visitor(server.port, relied.good).visit().accepted


def test_leaf_it_must_be(relied: Relied, apache: Start) -> None:
    with apache("ocsp.conf", {"SSLOCSPEnable leaf": "SSLOCSPEnable on"}) as server:
        assert not relied.visitor(server.port, relied.good).visit().accepted


def test_crl(relied: Relied, apache: Start, crls: Path, reload: tuple[str, ...]) -> None:
    with apache("crl.conf") as server:
        judge_by_crl(relied, server, crls, lambda: relied.fetch_crls(crls, *reload))


def test_roll_over_refuses_nobody(relied: Relied, apache: Start, crls: Path, reload: tuple[str, ...]) -> None:
    with apache("crl.conf") as server:
        roll_over(relied, server, crls, reload)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
@pytest.mark.parametrize("name", ["ocsp.conf", "crl.conf"])
def test_no_session_outlives_a_deactivation(
    relied: Relied, apache: Start, crls: Path, reload: tuple[str, ...], name: str, newest: ssl.TLSVersion
) -> None:
    with apache(name) as server:
        judge_sessions(relied, server, crls, newest, lambda: relied.fetch_crls(crls, *reload))


def test_with_tickets_a_session_outlives_it(relied: Relied, apache: Start) -> None:
    """What the page warns of. Should that end, the page can shrink."""
    leaving = relied.deliver()
    with apache("ocsp.conf", {"SSLSessionTickets off": "SSLSessionTickets on"}) as server:
        visitor = relied.visitor(server.port, leaving, ssl.TLSVersion.TLSv1_2)
        assert visitor.visit().accepted
        session = visitor.session
        leaving.deactivate()
        fresh = relied.visitor(server.port, leaving)
        relied.until_refused(fresh)
        visitor.session = session
        resumed = visitor.visit(resume=True)
        assert (resumed.accepted, resumed.resumed) == (True, True)
