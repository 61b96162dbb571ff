from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.addresses import SocketRefused, UnixAddress, open_socket
from tests.fixtures.processes import wait_until
from tests.integration.api.toys import LIMITS

ROOT = Path(__file__).parents[3]
NOBODY = 65534
PATIENCE = 60
"""Seconds before something counts as hanging."""


class Toy:
    def __init__(
        self, folder: Path, *, peers: str = "", grace: float = 30, request_seconds: float = 60
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.path = folder / "toy.sock"
        self.errors = folder / "errors"
        command = ("-m", "tests.integration.api.toys", "serve", str(self.port), str(self.path))
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                (sys.executable, *command, peers or str(os.getuid()), str(grace), str(request_seconds)),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.wait_for("started")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, moment: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{moment}\n", self.errors.read_text()

    def let_go(self, number: int) -> None:
        """So many of the requests for /held."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n" * number)
        self.process.stdin.flush()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.errors.read_text().splitlines()]

    def raw(self, sent: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(sent)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while chunk := connection.recv(65536):
                    received += chunk
            return received

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Callable[..., Toy]]:
    started: list[Toy] = []

    def start(**options: Any) -> Toy:
        started.append(Toy(tmp_path, **options))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        for pipe in (each.process.stdin, each.process.stdout):
            if pipe:
                pipe.close()


def over_unix(path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost")


def problem_in(raw: bytes) -> dict[str, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"cache-control: no-store" in head
    document: dict[str, Any] = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {document['status']} ".encode())
    return document


def test_several_addresses_are_served_and_end_together(toy: Callable[..., Toy]) -> None:
    served = toy()
    with over_unix(served.path) as client:
        assert client.get("/").text == f"{os.getuid()} 0"
    response = httpx.post(f"{served.url}/?secret=CANARY-query", content=b"CANARY-body")
    assert response.text == f"{os.getuid()} 11"
    assert "server" not in response.headers
    assert len(response.headers["x-request-id"]) == 16
    assert served.path.stat().st_mode & 0o777 == 0o660
    assert served.end() == 0
    assert served.process.stdout is not None
    assert served.process.stdout.read() == "stopped\n"
    assert not served.path.exists()
    assert [line["event"] for line in served.log()] == ["serving", "request", "request", "stopped"]
    assert "CANARY" not in served.errors.read_text()


def test_a_peer_that_is_not_listed_is_closed_at_once(toy: Callable[..., Toy]) -> None:
    stranger = NOBODY if os.geteuid() == 0 else None
    served = toy(peers=str(os.getuid() + 1))
    served.path.chmod(0o666)
    for folder in served.path.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)
    ask = f"""import socket
with socket.socket(socket.AF_UNIX) as s:
    s.connect({str(served.path)!r})
    try:
        s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(s.recv(100))
    except OSError:
        print(b"")
"""
    asked = subprocess.run(
        (sys.executable, "-c", ask), user=stranger, capture_output=True, text=True, cwd="/", check=False
    )
    assert asked.stdout == "b''\n", asked.stderr
    refused = [line for line in served.log() if line["event"] == "peer refused"]
    assert [line["uid"] for line in refused] == [os.getuid() if stranger is None else stranger]


def test_a_listed_peer_is_served(toy: Callable[..., Toy]) -> None:
    served = toy(peers=f"{os.getuid()},{NOBODY}")
    with over_unix(served.path) as client:
        assert client.get("/").status_code == 200


def test_what_never_reaches_the_application_is_a_problem_too(toy: Callable[..., Toy]) -> None:
    served = toy()
    assert problem_in(served.raw(b"CANARY\r\n\r\n"))["status"] == 400
    long_header = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000
    assert problem_in(served.raw(long_header))["code"] == "too-large"
    long_body = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n" + b"a" * 0x4000
    assert problem_in(served.raw(long_body))["code"] == "too-large"


EARLY = b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_request_has_one_answer(toy: Callable[..., Toy]) -> None:
    """Where the application has answered before the body was here, and that then grows beyond all bounds."""
    served = toy()
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as connection:
        connection.sendall(EARLY)
        received = connection.recv(4096)
        connection.sendall(b"".join([b"1000\r\n", b"x" * 4096, b"\r\n"]) * 10 + b"0\r\n\r\n")
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while chunk := connection.recv(4096):
            received += chunk
    assert received.count(b"HTTP/1.1 200 ") == received.count(b"HTTP/1.1 ") == 2


def test_a_body_without_an_end_is_not_read_for_ever(toy: Callable[..., Toy]) -> None:
    served = toy(request_seconds=1.5)
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as connection:
        connection.sendall(EARLY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert connection.recv(4096) == b""


def test_a_request_names_one_host(toy: Callable[..., Toy]) -> None:
    """RFC 9112 3.2; HTTP/1.0 knew none."""
    served = toy()
    for hosts in (b"", b"Host: x\r\nHost: x\r\n"):
        answer = served.raw(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
        assert problem_in(answer)["status"] == 400
    assert served.raw(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_what_escapes_an_application_is_internal_and_logged_with_its_cause(toy: Callable[..., Toy]) -> None:
    served = toy()
    response = httpx.get(f"{served.url}/broken")
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "CANARY" not in response.text
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{served.url}/half")
    failed = [line for line in served.log() if line["event"] == "failed"]
    assert [line["exception"][0]["message"] for line in failed] == ["CANARY-inside"] * 2


def test_a_slow_request_is_closed(toy: Callable[..., Toy]) -> None:
    served = toy(request_seconds=1.5)
    assert served.raw(b"") == b""
    assert served.raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc") == b""
    assert httpx.get(f"{served.url}/").status_code == 200


def test_an_answer_that_nobody_reads_is_given_up(toy: Callable[..., Toy]) -> None:
    served = toy(request_seconds=1.5)
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as lazy:
        lazy.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: not any(connection_established(served.port)), PATIENCE)
    # Who reads gets all of it.
    assert len(httpx.get(f"{served.url}/large").content) == 64 << 20


def test_overload_is_told_with_a_time_to_come_back(toy: Callable[..., Toy]) -> None:
    served = toy()
    answers: list[httpx.Response] = []
    held = [
        threading.Thread(target=lambda: answers.append(httpx.get(f"{served.url}/held", timeout=PATIENCE)))
        for _ in range(LIMITS.requests)
    ]
    for thread in held:
        thread.start()
        served.wait_for("begun")
    refused = httpx.get(f"{served.url}/held")
    assert refused.status_code == 429
    assert httpx.get(f"{served.url}/").status_code == 429
    served.let_go(len(held))
    for thread in held:
        thread.join()
    assert [response.status_code for response in answers] == [200] * LIMITS.requests
    assert httpx.get(f"{served.url}/").status_code == 200
    assert refused.json()["code"] == "too-many-requests"
    assert refused.headers["retry-after"] == "1"


def test_bodies_that_never_come_take_nobodys_place(toy: Callable[..., Toy]) -> None:
    served = toy()
    with contextlib.ExitStack() as opened:
        for _ in range(LIMITS.requests + 1):
            waiting = opened.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            waiting.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        wait_until(lambda: sum(connection_established(served.port)) > LIMITS.requests, PATIENCE)
        assert [httpx.get(f"{served.url}/").status_code for _ in range(3)] == [200] * 3
        waiting.sendall(b"defghi")
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_one_address_cannot_hold_every_connection(toy: Callable[..., Toy]) -> None:
    served = toy()
    with contextlib.ExitStack() as opened:
        for number in range(LIMITS.connections):
            one = opened.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            if number % 2:  # Having been served frees no place either, while the connection is kept.
                one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert one.recv(4096)
        wait_until(lambda: sum(connection_established(served.port)) >= LIMITS.connections, PATIENCE)
        # The same address finds no room, for it would only take its own ...
        assert served.raw(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == b""
        # ... and another one is served.
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=elsewhere) as other:
            assert other.get(f"{served.url}/").status_code == 200


def test_there_are_files_for_every_connection(toy: Callable[..., Toy]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        served = toy()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed, _ = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
    assert allowed > LIMITS.connections + 256


def test_what_runs_is_finished_before_the_end(toy: Callable[..., Toy]) -> None:
    served = toy()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{served.url}/slow").status_code))
    asking.start()
    served.wait_for("begun")
    assert served.end() == 0
    asking.join()
    assert answers == [200]


def test_the_end_is_bounded(toy: Callable[..., Toy]) -> None:
    served = toy(grace=1)
    with socket.create_connection(("127.0.0.1", served.port)) as hanging:
        hanging.sendall(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
        served.wait_for("begun")
        served.process.send_signal(signal.SIGINT)
        served.process.wait(PATIENCE)


def connection_established(port: int) -> Iterator[bool]:
    """Connections whose request the server has read (its receive queue is empty)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        yield fields[1].endswith(f":{port:04X}") and fields[3] == "01" and fields[4].endswith(":00000000")


FAILING = """
from api import logs
from api.addresses import TcpAddress
from api.sockets import Listener, run
logs.configure("toy")
run([Listener(app=None, address=TcpAddress(host="127.0.0.1", port=0))], background=[lambda stop: 1 / 0])
"""


def test_a_process_ends_with_the_work_beside_its_serving() -> None:
    done = subprocess.run(
        (sys.executable, "-c", FAILING),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    told = {entry["event"]: entry for entry in map(json.loads, done.stderr.splitlines())}
    assert "ZeroDivisionError" in json.dumps(told["background-failed"])
    assert "stopped" in told


def test_a_socket_file_left_behind_is_replaced_and_one_in_service_is_not(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    address = UnixAddress(path=path, peers=frozenset(), mode=0o600)
    with open_socket(address):
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(SocketRefused, match="being served"), open_socket(address):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_other_files_and_long_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for path, why in ((tmp_path / "file", "not a socket"), (tmp_path / ("x" * 110), "longer")):
        with (
            pytest.raises(SocketRefused, match=why),
            open_socket(UnixAddress(path=path, peers=frozenset())),
        ):
            pass
    assert (tmp_path / "file").read_text() == "kept"
