"""docs/relying-services/stunnel.md: its blocks in a real stunnel."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.pages import block
from tests.fixtures.relying import Relied, until
from tests.fixtures.servers import Server, free_port, serving
from tests.integration.relying.judging import judge_by_crl, judge_by_ocsp, judge_sessions, listed

PAGE = "relying-services/stunnel.md"
Start = Callable[..., contextlib.AbstractContextManager[Server]]
pytestmark = pytest.mark.slow


@pytest.fixture
def stunnel(relied: Relied, crls: Path, tmp_path: Path) -> Start:
    @contextlib.contextmanager
    def start(name: str) -> Iterator[Server]:
        port = free_port()
        places: dict[str, object] = {
            "accept = 443": f"accept = 127.0.0.1:{port}",
            "127.0.0.1:8080": f"127.0.0.1:{relied.behind.port}",
            "/etc/stunnel/server": relied.folder / "server",
            "/etc/stunnel/mycert/trust.pem": relied.trust,
        }
        if name == "crl.conf":
            places["/etc/stunnel/mycert/crls.pem"] = crls
        (tmp_path / name).write_text(
            f"foreground = yes\npid = {tmp_path}/pid\n" + block(PAGE, name).filled(places)
        )
        with serving(["stunnel4", str(tmp_path / name)], port, tmp_path) as server:
            yield server

    return start


@pytest.fixture
def reload(tmp_path: Path) -> tuple[str, ...]:
    assert block(PAGE, "roll-over").text.rstrip().endswith("pkill -HUP -x stunnel")
    return "sh", "-c", f"kill -HUP $(cat {tmp_path}/pid)"


def test_ocsp_aia(relied: Relied, stunnel: Start) -> None:
    with stunnel("ocsp.conf") as server:
        judge_by_ocsp(relied, server)


def test_crl(relied: Relied, stunnel: Start, crls: Path, reload: tuple[str, ...]) -> None:
    with stunnel("crl.conf") as server:
        judge_by_crl(relied, server, crls, lambda: relied.fetch_crls(crls, *reload))


def test_roll_over_cuts_no_connection(
    relied: Relied, stunnel: Start, crls: Path, reload: tuple[str, ...]
) -> None:
    """What was let in goes on; a new connection may find nobody listening for the instant of the reload."""
    leaving = relied.deliver()
    context = ssl.create_default_context(cafile=str(relied.folder / "server.pem"))
    context.load_cert_chain(relied.good.folder / "chain.pem", relied.good.folder / "key.pem")
    with stunnel("crl.conf") as server:
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as kept,
        ):
            kept.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            leaving.deactivate()
            until(lambda: listed(relied, crls, leaving.certificate.serial_number), "never listed")
            relied.fetch_crls(crls, *reload)
            relied.until_refused(relied.visitor(server.port, leaving))
            kept.sendall(b"Connection: close\r\n\r\n")
            assert kept.recv(4096).startswith(b"HTTP/1.0 200")
        until(lambda: relied.visitor(server.port, relied.good).visit().accepted, "nobody listens any more")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
@pytest.mark.parametrize("name", ["ocsp.conf", "crl.conf"])
def test_no_session_outlives_a_deactivation(
    relied: Relied, stunnel: Start, crls: Path, reload: tuple[str, ...], name: str, newest: ssl.TLSVersion
) -> None:
    with stunnel(name) as server:
        judge_sessions(relied, server, crls, newest, lambda: relied.fetch_crls(crls, *reload))
