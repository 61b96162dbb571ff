"""Section [mail], and messages to one recipient each over SMTP (RFC 5321)."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from api.mail.address import parse_address
from api.mail.errors import AddressRefused, MailPostponed, MailRefused, MailUnavailable, MessageRefused
from issuer.secrets import Secret


class MailConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``timeout`` in seconds, for each step of the conversation."""

    sender: str
    host: str = "127.0.0.1"
    port: int = 25
    security: Literal["none", "starttls", "tls"] = "starttls"
    ca_file: str | None = None
    username: str | None = None
    password_file: str | None = None
    timeout: float = 10.0
    poll: float = 1.0
    """How often the mailer looks into the outbox, in seconds."""

    def __post_init__(self) -> None:
        try:
            _ = self.address
        except AddressRefused:
            raise ValueError("mail.sender: want an address, or a name and an address in <>") from None
        if (self.username is None) != (self.password_file is None):
            raise ValueError("mail: username and password_file belong together")
        if self.username is not None and self.security == "none":
            raise ValueError("mail.security: a password needs starttls or tls")
        if min(self.timeout, self.poll) <= 0:
            raise ValueError("mail: timeout and poll are positive")

    @property
    def address(self) -> Address:
        name, spec = parseaddr(self.sender)
        return Address(display_name=name, addr_spec=parse_address(spec).wire)


class Transport:
    """Thread-safe: each conversation has a connection of its own."""

    def __init__(self, config: MailConfig) -> None:
        """Raises SecretFileRefused or OSError for files that cannot be used."""
        self._config = config
        self.sender = config.address
        self._tls = ssl.create_default_context(cafile=config.ca_file)
        self._password = Secret.from_file(Path(config.password_file)) if config.password_file else None

    def send(self, message: EmailMessage) -> None:
        """One message; as ``Conversation.send``."""
        with Conversation(self) as conversation:
            conversation.send(message)

    def connect(self) -> smtplib.SMTP:
        """A connection that the server has let us in on. Raises SMTPException, OSError."""
        config = self._config
        hostname = self.sender.domain  # What we say in EHLO.
        server: smtplib.SMTP
        if config.security == "tls":
            server = smtplib.SMTP_SSL(
                config.host,
                config.port,
                local_hostname=hostname,
                timeout=config.timeout,
                context=self._tls,
            )
        else:
            server = smtplib.SMTP(config.host, config.port, local_hostname=hostname, timeout=config.timeout)
        try:
            if config.security == "starttls":
                server.starttls(context=self._tls)
            if config.username is not None and self._password is not None:
                server.login(config.username, self._password.reveal().decode())
        except (smtplib.SMTPException, OSError):
            server.close()
            raise
        return server


class Conversation:
    """Several messages over one connection, which the first of them makes; one thread's."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._server: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was sent is the server's already: how the good-bye goes changes nothing.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            if self._server is not None:
                self._server.quit()
        self._hang_up()

    def send(self, message: EmailMessage) -> None:
        """Returns once the server has taken it over. Raises MailUnavailable, MailPostponed, MailRefused."""
        recipient = message["To"].addresses[0].addr_spec
        kept = self._server is not None and self._server.sock is not None
        try:
            if self._server is None or not kept:
                self._server = self._transport.connect()
            self._server.send_message(
                message, from_addr=self._transport.sender.addr_spec, to_addrs=[recipient]
            )
        except smtplib.SMTPRecipientsRefused as error:
            code, _ = error.recipients[recipient]
            raise (MailRefused if code >= 500 else MailPostponed)(_named(error, code)) from error
        except smtplib.SMTPDataError as error:
            refusal = MessageRefused if error.smtp_code >= 500 else MailPostponed
            raise refusal(_named(error, error.smtp_code)) from error
        except (smtplib.SMTPException, OSError) as error:
            self._hang_up()
            if kept:
                # A server may end a connection that was idle, or has carried enough (RFC 5321 3.8).
                self.send(message)
                return
            raise MailUnavailable(_named(error, _answer(error))) from error

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None


def _named(error: Exception, answer: int | str) -> str:
    """The server's number (RFC 5321 4.2.1: 4yz is for now, 5yz for good), not its words: these may repeat
    the address."""
    return f"{type(error).__name__} {answer}"


def _answer(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return str(error.smtp_code)
    return str(error.strerror or error) if isinstance(error, OSError) else ""
