"""docs/relying-services/java.md: its class in Java's own HTTPS server."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.pages import block
from tests.fixtures.relying import Relied, until
from tests.fixtures.servers import Server, free_port, serving
from tests.integration.relying.judging import judge_by_ocsp

PAGE = "relying-services/java.md"
SOURCES = Path(__file__).parents[2] / "relying" / "java"
Start = Callable[..., contextlib.AbstractContextManager[Server]]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("java")
    (folder / "MyCertTrust.java").write_text(block(PAGE, "MyCertTrust.java").text)
    sources = [folder / "MyCertTrust.java", SOURCES / "RelyingServer.java"]
    done = subprocess.run(
        ["javac", "-Xlint:all", "-Werror", "-d", folder, *sources],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def java(relied: Relied, classes: Path, tmp_path: Path) -> Start:
    @contextlib.contextmanager
    def start(kind: str, *, session_seconds: int = 60) -> Iterator[Server]:
        port = free_port()
        files = [str(relied.folder / "server.p12"), str(relied.folder / "root.pem")]
        command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", str(classes)]
        command += ["RelyingServer", str(port), *files, kind, str(session_seconds)]
        with serving(command, port, tmp_path) as server:
            yield server

    return start


def test_ocsp(relied: Relied, java: Start) -> None:
    with java("ocsp") as server:
        seen = relied.visitor(server.port, relied.good).visit()
        assert seen.headers == {"x-ehealthid": relied.good.number, "x-profession": "PS-001"}, server.said
        judge_by_ocsp(relied, server)


@pytest.mark.slow
def test_crldp(relied: Relied, java: Start) -> None:
    """Fetched by Java itself; a deactivation is seen as soon as it looks again."""
    leaving = relied.deliver()
    with java("crl") as server:
        good, gone = relied.visitor(server.port, relied.good), relied.visitor(server.port, leaving)
        assert good.visit().accepted, server.said
        assert gone.visit().accepted
        assert not relied.visitor(server.port, None).visit().accepted
        assert not relied.stranger(server.port).visit().accepted
        leaving.deactivate()
        with relied.front.down():
            assert good.visit().accepted  # what it holds in memory is in force
        until(lambda: not gone.visit().accepted, "still accepted")
        assert good.visit().accepted


@pytest.mark.slow
def test_a_session_lives_as_long_as_the_page_says(relied: Relied, java: Start) -> None:
    assert "setSessionTimeout(60)" in block(PAGE, "sessions").text
    leaving = relied.deliver()
    with java("ocsp", session_seconds=3) as server:
        visitor = relied.visitor(server.port, leaving)
        assert visitor.visit().accepted
        assert visitor.visit(resume=True).resumed
        session = visitor.session
        leaving.deactivate()
        until(lambda: not relied.visitor(server.port, leaving).visit().accepted, "still accepted")

        def resumed() -> bool:
            visitor.session = session
            return visitor.visit(resume=True).accepted

        until(lambda: not resumed(), "a session outlived its bound")
