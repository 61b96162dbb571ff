from __future__ import annotations

import email
import email.policy
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.demo.config import DemoConfig, DemoDisabled
from api.demo.mailbox import mail_server, run
from api.mail.address import parse_address
from api.mail.messages import code_message
from api.mail.transport import MailConfig, Transport
from issuer.clock import system_clock
from tests.fixtures.processes import wait_until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def served(folder: Path) -> Iterator[int]:
    server = mail_server(folder, free_port(), system_clock)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def send(port: int, number: int) -> None:
    transport = Transport(MailConfig(sender="no-reply@mycert.example", port=port, security="none"))
    transport.send(
        code_message(
            f"{number:06d}",
            parse_address("mon@adresse.lu"),
            language="fr",
            lifetime_seconds=300,
            message_id=str(number),
            sender=transport.sender,
            now=datetime(2026, 3, 27, tzinfo=UTC),
        )
    )


def test_mails_become_files_whole_and_in_order(tmp_path):
    with served(tmp_path / "mailbox") as port:
        for number in range(5):
            send(port, number)
    files = sorted((tmp_path / "mailbox").iterdir())
    assert [path.suffix for path in files] == [".eml"] * 5
    for number, path in enumerate(files):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert message["X-MyCert-Event"] == "code"
        assert f"    {number:06d}" in message.get_body(("plain",)).get_content().splitlines()


def test_a_reader_never_sees_half_a_file(tmp_path):
    folder = tmp_path / "mailbox"
    body = b"Subject: long\r\n\r\n" + b"x" * 70 + b"\r\n"
    body += (b"y" * 70 + b"\r\n") * 5000 + b"end\r\n"
    seen: list[bytes] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.extend(path.read_bytes()[-5:] for path in folder.glob("*.eml"))

    with served(folder) as port:
        reader = threading.Thread(target=read)
        reader.start()
        with smtplib.SMTP("127.0.0.1", port, local_hostname="test") as client:
            for _ in range(10):
                client.sendmail("a@example.com", ["b@example.com"], body)
        stop.set()
        reader.join()
    assert set(seen) <= {b"end\r\n"}
    assert len(list(folder.glob("*.eml"))) == 10


def test_a_mail_that_cannot_be_kept_is_not_acknowledged(tmp_path):
    folder = tmp_path / "mailbox"
    with served(folder) as port:
        folder.rmdir()
        with (
            smtplib.SMTP("127.0.0.1", port, local_hostname="test") as client,
            pytest.raises(smtplib.SMTPDataError),
        ):
            client.sendmail("a@example.com", ["b@example.com"], b"Subject: x\r\n\r\nx\r\n")


def test_outside_the_demo_there_is_no_mailbox(tmp_path):
    with pytest.raises(DemoDisabled):
        run(DemoConfig(), tmp_path / "mailbox", 0, system_clock)
    assert not (tmp_path / "mailbox").exists()


def test_the_process_ends_on_a_signal(tmp_path):
    port = free_port()
    program = (
        "import sys; from pathlib import Path; from api.demo.config import DemoConfig;"
        "from api.demo.mailbox import run; from issuer.clock import system_clock;"
        "run(DemoConfig(enabled=True), Path(sys.argv[1]), int(sys.argv[2]), system_clock)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "mailbox"), str(port)])
    try:
        wait_until(lambda: answers(port))
        send(port, 42)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert len(list((tmp_path / "mailbox").glob("*.eml"))) == 1
