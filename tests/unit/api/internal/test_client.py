"""An order that the issuer's end cut off is made again; what nobody knows is told as that."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.internal.client import IssuerClient, IssuerSilent, IssuerUnreachable
from api.problems import RemoteProblem
from api.socket_pass import pass_beside, write_pass
from issuer.issuance.order import Order

# httpcore leaves a socket that it could not connect to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)

NOW = datetime(2027, 1, 1, tzinfo=UTC)
ORDER = Order(
    request_id="5b0c7f3e-0000-4000-8000-000000000001",
    email="mon@adresse.lu",
    language="fr",
    keystore_profile="modern",
    recipient=b"r" * 32,
    terms_version="1",
    terms_sha256="0" * 64,
    terms_language="fr",
    terms_accepted_at=NOW,
    accepted_at=NOW,
)


def answer_of(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/%s\r\ncontent-length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


DONE = answer_of(b"202 Accepted", b"json", b'{"store_id":"s"}')
BUSY = answer_of(b"429 No", b"problem+json", b'{"code":"too-many-requests"}')
Issuer = Callable[..., threading.Thread]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_pass(pass_beside(tmp_path / "issuer.sock"))
    return tmp_path / "issuer.sock"


@pytest.fixture
def issuer(path: Path) -> Issuer:
    """Answers one connection after the other so: b"" is an end in the middle. Nobody listens afterwards."""

    def serve(*answers: bytes) -> threading.Thread:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()

        def answer() -> None:
            with listening:
                for one in answers:
                    connection, _ = listening.accept()
                    with connection:
                        assert connection.recv(65536)
                        connection.sendall(one)
            path.unlink()

        thread = threading.Thread(target=answer)
        thread.start()
        return thread

    return serve


def order(path: Path) -> str:
    client = IssuerClient(str(path))
    try:
        return client.order("assertion", ORDER).store_id
    finally:
        client.close()


@pytest.mark.parametrize("before", [[], [b""], [b"", b""], [b"HTTP/1.1 202"], [b"", BUSY]])
def test_an_end_in_the_middle_is_made_up_for(path: Path, issuer: Issuer, before: list[bytes]) -> None:
    thread = issuer(*before, DONE)
    assert order(path) == "s"
    thread.join()


@pytest.mark.parametrize("answers", [[b""], [b"", BUSY]])
def test_where_none_comes_back_nobody_knows(
    path: Path, issuer: Issuer, answers: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.internal.client._COMES_BACK", 0.3)
    thread = issuer(*answers)
    with pytest.raises(IssuerSilent):
        order(path)
    thread.join()


def test_where_nothing_was_begun_that_is_said_at_once(path: Path, issuer: Issuer) -> None:
    with pytest.raises(IssuerUnreachable):
        order(path)
    thread = issuer(BUSY)
    with pytest.raises(RemoteProblem, match="too-many-requests"):
        order(path)
    thread.join()
