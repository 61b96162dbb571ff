from __future__ import annotations

import ipaddress
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api.mail.address import parse_address
from api.mail.errors import MailPostponed, MailRefused, MailUnavailable, MessageRefused
from api.mail.messages import code_message
from api.mail.transport import MailConfig, Transport
from issuer.secrets import SecretFileRefused

NOW = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)


def transport(port: int, **settings: Any) -> Transport:
    values = {"sender": "myCert <no-reply@mycert.example>", "port": port, "security": "none", "timeout": 30.0}
    return Transport(msgspec.convert(values | settings, MailConfig))


def send(through: Transport) -> None:
    through.send(
        code_message(
            "042137",
            parse_address("a@müller.lu"),
            language="fr",
            lifetime_seconds=300,
            message_id="send-1",
            sender=through.sender,
            now=NOW,
        )
    )


def test_a_message_arrives(smtp):
    send(transport(smtp.port))
    (envelope,) = smtp.received
    assert envelope.mail_from == "no-reply@mycert.example"
    assert envelope.rcpt_tos == ["a@xn--mller-kva.lu"]
    assert b"\r\n    042137\r\n" in envelope.original_content


@pytest.mark.parametrize(
    ("verb", "answer", "error"),
    [
        ("RCPT", "550 no such user a@müller.lu", MailRefused),
        ("RCPT", "450 later", MailPostponed),
        ("RCPT", "421 closing", MailPostponed),
        ("DATA", "554 not like this", MessageRefused),
        ("DATA", "451 later", MailPostponed),
        ("MAIL", "550 who are you", MailUnavailable),
        ("MAIL", "451 later", MailUnavailable),
        ("MAIL", "drop", MailUnavailable),
        ("DATA", "drop", MailUnavailable),
    ],
)
def test_how_a_server_says_no(smtp, verb, answer, error):
    smtp.answers[verb] = answer
    with pytest.raises(error) as caught:
        send(transport(smtp.port))
    assert type(caught.value) is error
    assert caught.value.code == ("email-invalid" if error is MailRefused else "mail-unavailable")
    assert "müller" not in str(caught.value)
    assert not smtp.received


@pytest.mark.parametrize("answer", ["drop", "500 what", "421 closing"])
def test_after_the_acceptance_nothing_undoes_it(smtp, answer):
    smtp.answers["QUIT"] = answer
    send(transport(smtp.port))
    assert len(smtp.received) == 1


def test_nobody_listens():
    with pytest.raises(MailUnavailable):
        send(transport(1))


def test_a_server_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MailUnavailable):
        send(transport(silent.getsockname()[1], timeout=0.2))


# --- TLS and passwords ------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
    start = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "mail.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def server_tls(authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority)
    return context


def test_starttls_with_a_password(start_smtp, server_tls, authority, tmp_path):
    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(success=data == LoginPassword(b"mycert", b"s3cret"), handled=False)

    server = start_smtp(
        tls_context=server_tls, require_starttls=True, auth_required=True, authenticator=authenticate
    )
    password = tmp_path / "mail.password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    settings = {
        "security": "starttls",
        "ca_file": str(authority),
        "username": "mycert",
        "password_file": str(password),
    }
    send(transport(server.port, **settings))
    assert len(server.received) == 1

    password.write_text("wrong")
    with pytest.raises(MailUnavailable, match="535"):
        send(transport(server.port, **settings))
    password.chmod(0o644)
    with pytest.raises(SecretFileRefused):
        transport(server.port, **settings)


def test_tls_from_the_start(start_smtp, server_tls, authority):
    # aiosmtpd answers its controller's own probe over TLS too.
    server = start_smtp(tls=server_tls)
    send(transport(server.port, security="tls", ca_file=str(authority)))
    assert len(server.received) == 1


def test_a_server_that_cannot_prove_itself_or_speaks_no_tls(start_smtp, smtp, server_tls):
    unknown = start_smtp(tls_context=server_tls)
    for port in (unknown.port, smtp.port):
        with pytest.raises(MailUnavailable):
            send(transport(port, security="starttls"))
    assert not unknown.received
    assert not smtp.received


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": "nobody"},
        {"sender": "a@example.com\r\nBcc: b@example.com"},
        {"security": "maybe"},
        {"username": "mycert"},
        {"username": "mycert", "password_file": "/x", "security": "none"},
        {"timeout": 0},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_serve(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"sender": "no-reply@mycert.example"} | wrong, MailConfig)
