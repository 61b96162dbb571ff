"""docs/relying-services/haproxy.md: its block in a real HAProxy."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.pages import block
from tests.fixtures.relying import Relied
from tests.fixtures.servers import Server, free_port, serving
from tests.integration.relying.judging import judge_by_crl, judge_sessions, roll_over

PAGE = "relying-services/haproxy.md"
Start = Callable[..., contextlib.AbstractContextManager[Server]]
pytestmark = pytest.mark.slow


@pytest.fixture
def haproxy(relied: Relied, crls: Path, tmp_path: Path) -> Start:
    @contextlib.contextmanager
    def start() -> Iterator[Server]:
        port = free_port()
        text = block(PAGE, "haproxy.cfg").filled(
            {
                "bind :443": f"bind 127.0.0.1:{port}",
                "/etc/haproxy/server.pem": relied.folder / "server-both.pem",
                "/etc/haproxy/mycert/trust.pem": relied.trust,
                "/etc/haproxy/mycert/crls.pem": crls,
                "127.0.0.1:8080": f"127.0.0.1:{relied.behind.port}",
            }
        )
        (tmp_path / "haproxy.cfg").write_text(text)
        # Master and worker, as the distribution's unit runs it.
        command = ["haproxy", "-W", "-f", str(tmp_path / "haproxy.cfg"), "-p", str(tmp_path / "pid")]
        with serving(command, port, tmp_path) as server:
            yield server

    return start


@pytest.fixture
def reload(tmp_path: Path) -> tuple[str, ...]:
    """What the unit does for a reload."""
    assert block(PAGE, "roll-over").text.rstrip().endswith("systemctl reload haproxy")
    check = f"haproxy -c -q -f {tmp_path}/haproxy.cfg"
    return "sh", "-c", f"{check} && kill -USR2 $(head -n 1 {tmp_path}/pid)"


def test_crl(relied: Relied, haproxy: Start, crls: Path, reload: tuple[str, ...]) -> None:
    with haproxy() as server:
        seen = relied.visitor(server.port, relied.good).visit()
        assert seen.accepted, server.said
        assert seen.headers["x-ehealthid"] == relied.good.number
        assert seen.headers["x-profession"] == "PS-001"
        judge_by_crl(relied, server, crls, lambda: relied.fetch_crls(crls, *reload))


def test_roll_over_refuses_nobody(
    relied: Relied, haproxy: Start, crls: Path, reload: tuple[str, ...]
) -> None:
    with haproxy() as server:
        roll_over(relied, server, crls, reload)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
def test_no_session_outlives_a_deactivation(
    relied: Relied, haproxy: Start, crls: Path, reload: tuple[str, ...], newest: ssl.TLSVersion
) -> None:
    with haproxy() as server:
        judge_sessions(relied, server, crls, newest, lambda: relied.fetch_crls(crls, *reload))
