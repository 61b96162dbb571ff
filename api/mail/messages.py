"""Letters to a professional: what each event says, and the headers that make it recognisable.

A letter is a function of its parameters alone, so that the one possible duplicate (R24) is
the same message under the same Message-ID. No parameter type has room for a secret but the
code's, and the code's letter never comes from the outbox.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from zoneinfo import ZoneInfo

import msgspec

from api.mail.address import EmailAddress, parse_address
from api.mail.errors import AddressRefused, NoticeUnwritable
from api.mail.html import html_letter
from api.texts import Catalogue, catalogue, in_pairs
from issuer.registry.outbox import OutboxEntry
from policies.codes import check_shape

LUXEMBOURG = ZoneInfo("Europe/Luxembourg")
_LETTERS_ONLY = str.maketrans("0123456789", "ghijklmnop")


class _Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of all events together: each letter takes what it names, and is not written where that is missing."""

    serial_number: str
    sha256_fingerprint: str
    not_before: datetime | None = None
    not_after: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    ended_by: str | None = None
    days: int | None = None


def code_message(
    code: str,
    address: EmailAddress,
    *,
    language: str,
    lifetime_seconds: int,
    message_id: str,
    sender: Address,
    now: datetime,
) -> EmailMessage:
    """``message_id`` names this one sending; the header is made from it."""
    check_shape(code)
    values = {"code": code, "minutes": str(lifetime_seconds // 60)}
    return _write("code", values, address, language=language, key=f"code:{message_id}", sender=sender, at=now)


def notice_message(entry: OutboxEntry, sender: Address) -> EmailMessage:
    """Raises NoticeUnwritable."""
    try:
        parameters = msgspec.convert(dict(entry.parameters), _Parameters, strict=False)
        return _write(
            entry.event,
            _spell(parameters, catalogue(entry.language)),
            parse_address(entry.address),
            language=entry.language,
            key=f"outbox:{entry.id}",
            sender=sender,
            at=entry.created_at,
        )
    except (KeyError, msgspec.ValidationError, AddressRefused) as error:
        raise NoticeUnwritable(f"{entry.event}: {type(error).__name__}") from error


def _write(
    event: str,
    values: Mapping[str, str],
    address: EmailAddress,
    *,
    language: str,
    key: str,
    sender: Address,
    at: datetime,
) -> EmailMessage:
    texts = catalogue(language)
    subject, body = texts.letters[event].write(values)
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = Address(addr_spec=address.wire)
    message["Subject"] = subject
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{_digest(key)}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 5
    message["X-MyCert-Event"] = event
    # Quoted-printable keeps a letter readable, and its code findable, in the raw file.
    message.set_content(f"{body.strip()}\n\n-- \n{texts.signature.strip()}\n", cte="quoted-printable")
    message.add_alternative(
        html_letter(language, subject, body, texts.signature), subtype="html", cte="quoted-printable"
    )
    # Of the letter, for otherwise each writing of the same one would differ.
    message.set_boundary(_digest(f"boundary:{key}"))
    return message


def _digest(key: str) -> str:
    """In letters alone, so that no mail program takes six of its digits for the code."""
    return hashlib.sha256(key.encode()).hexdigest()[:40].translate(_LETTERS_ONLY)


def _spell(parameters: _Parameters, texts: Catalogue) -> dict[str, str]:
    """For people: moments on Luxembourg's clocks, numbers in pairs, reasons and actors in words."""
    words = {name: value for name, value in msgspec.structs.asdict(parameters).items() if value is not None}
    for name, value in words.items():
        if isinstance(value, datetime):
            words[name] = value.astimezone(LUXEMBOURG).strftime(texts.moment)
    words["serial_number"] = in_pairs(parameters.serial_number)
    words["sha256_fingerprint"] = in_pairs(parameters.sha256_fingerprint)
    if parameters.days is not None:
        words["days"] = f"{parameters.days} {texts.days[parameters.days != 1]}"
    if parameters.reason is not None:
        words["reason"] = texts.reasons[parameters.reason]
    if parameters.ended_by is not None:
        words["ended_by"] = texts.actors[parameters.ended_by]
    return {name: str(value) for name, value in words.items()}
