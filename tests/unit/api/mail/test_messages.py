from __future__ import annotations

import email.policy
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from html import unescape
from string import Template

import pytest

from api.mail.address import parse_address
from api.mail.errors import NoticeUnwritable
from api.mail.messages import code_message, notice_message
from api.texts import catalogue, catalogues
from issuer.registry.outbox import OutboxEntry
from policies.errors import CodeMalformed
from policies.reasons import DeactivationReason, RevocationReason

SENDER = Address("myCert", addr_spec="no-reply@mycert.example")
NOW = datetime(2026, 3, 27, 13, 5, tzinfo=UTC)
SERIAL = "4f3e2d1c0b0a99887766554433221100aabbccdd"
FINGERPRINT = "0123456789abcdef" * 4

PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "issued": {"not_before": "2026-03-27T13:00:00+00:00", "not_after": "2028-03-27T13:00:00+00:00"},
    "address-changed": {"not_before": "2026-03-27T13:00:00+00:00", "not_after": "2028-03-27T13:00:00+00:00"},
    "deactivated": {"ended_at": "2026-07-01T08:30:00+00:00", "reason": "file-lost", "ended_by": "holder"},
    "expiring": {"not_after": "2028-03-27T13:00:00+00:00", "days": "30"},
    "expired": {"not_after": "2028-03-27T13:00:00+00:00"},
}


def entry(event: str, language: str = "fr", **changes: str) -> OutboxEntry:
    return OutboxEntry(
        id="5b0c7f3e-0000-4000-8000-000000000001",
        event=event,
        address="mon@müller.lu",
        language=language,
        parameters={
            "serial_number": SERIAL,
            "sha256_fingerprint": FINGERPRINT,
            **PARAMETERS[event],
            **changes,
        },
        created_at=NOW,
        attempts=0,
    )


def code(code: str = "042137", *, language: str = "fr", message_id: str = "send-1") -> EmailMessage:
    return code_message(
        code,
        parse_address("mon@adresse.lu"),
        language=language,
        lifetime_seconds=300,
        message_id=message_id,
        sender=SENDER,
        now=NOW,
    )


def reread(message: EmailMessage) -> EmailMessage:
    parsed = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def part(message: EmailMessage, kind: str = "plain") -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def test_the_languages() -> None:
    assert set(catalogues()) == {"fr", "de", "en"}
    assert catalogue("de-LU") is catalogue("de")
    assert catalogue("lb") is catalogue("fr")


@pytest.mark.parametrize("language", sorted(catalogues()))
def test_every_catalogue_is_complete_and_writes_the_same_facts(language: str) -> None:
    texts, french = catalogues()[language], catalogues()["fr"]
    assert set(texts.letters) == {"code", *PARAMETERS}
    assert set(texts.reasons) == {*DeactivationReason, *RevocationReason}
    assert set(texts.actors) == {"holder", "service", "officer"}
    for name, letter in texts.letters.items():
        wanted = sorted(Template(french.letters[name].body).get_identifiers())
        assert sorted(Template(letter.body).get_identifiers()) == wanted
        assert all(len(line) <= 76 for line in letter.body.splitlines())


@pytest.mark.parametrize("language", sorted(catalogues()))
def test_the_code(language: str) -> None:
    message = reread(code(language=language))
    body = part(message)
    assert re.findall(r"\d{6}", body) == ["042137"]
    assert re.search(r"\b5 Min|\b5 min", body)
    assert message["X-MyCert-Event"] == "code"
    # A program that looks for a code in the raw file, or in a header, finds this one or none.
    assert set(re.findall(r"\d{6}", code(language=language).as_string())) == {"042137"}
    assert not re.search(r"\d{6}", message["Subject"])


def test_only_codes_go_into_the_codes_letter() -> None:
    with pytest.raises(CodeMalformed):
        code("12345")


def test_headers() -> None:
    message = reread(notice_message(entry("issued"), SENDER))
    assert message["From"] == "myCert <no-reply@mycert.example>"
    assert message["To"] == "mon@xn--mller-kva.lu"
    assert message["Date"].datetime == NOW
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-MyCert-Event"] == "issued"
    assert message.get_content_type() == "multipart/alternative"
    kinds = [(one.get_content_type(), one.get_content_charset()) for one in message.iter_parts()]
    assert kinds == [("text/plain", "utf-8"), ("text/html", "utf-8")]
    assert notice_message(entry("issued"), SENDER).as_bytes().isascii()


def test_a_duplicate_is_the_same_message_and_another_sending_is_not() -> None:
    first, again = (notice_message(replace(entry("issued"), attempts=n), SENDER) for n in (0, 3))
    assert first.as_bytes() == again.as_bytes()
    ids = {first["Message-ID"], notice_message(replace(entry("issued"), id="other"), SENDER)["Message-ID"]}
    ids |= {code(message_id=name)["Message-ID"] for name in ("send-1", "send-2")}
    assert len(ids) == 4
    assert all(re.fullmatch(r"<[a-p]{40}@mycert\.example>", name) for name in ids)


@pytest.mark.parametrize("language", sorted(catalogues()))
@pytest.mark.parametrize("event", sorted(PARAMETERS))
def test_every_notice_tells_its_facts(event: str, language: str) -> None:
    message = reread(notice_message(entry(event, language), SENDER))
    body = part(message)
    # As the portal shows them, so that the two can be compared at a glance.
    assert "4f:3e:2d:1c:0b:0a:99:88:77:66:55:44:33:22:11:00:aa:bb:cc:dd" in body.split()
    assert ":".join(["01:23:45:67:89:ab:cd:ef"] * 4) in body.split()
    assert "$" not in body + message["Subject"]
    assert message["X-MyCert-Event"] == event
    # The HTML part says the same, word for word, and loads nothing.
    html = part(message, "html")
    words = unescape(re.sub(r"<(title|style)>.*?</\1>|<[^>]+>", " ", html.replace("<wbr>", ""))).split()
    assert words == [word for word in body.split() if word != "--"]
    assert not re.search(r"src=|href=|url\(|<(img|link|script|style)", html)
    assert f'<html lang="{language}">' in html
    assert "2028" in body if "not_after" in PARAMETERS[event] else "2026" in body


@pytest.mark.parametrize(
    ("language", "day", "days"),
    [
        ("fr", "dans 1 jour\n", "dans 30 jours"),
        ("de", "in 1 Tag ab", "in 30 Tagen ab"),
        ("en", "in 1 day\n", "in 30 days"),
    ],
)
def test_one_day_is_not_days(language: str, day: str, days: str) -> None:
    for number, said in (("1", day), ("30", days)):
        message = notice_message(entry("expiring", language, days=number), SENDER)
        assert said in f"{message['Subject']}\n"
        assert said.strip() in part(message)


def test_moments_are_luxembourgs_and_reasons_are_words() -> None:
    body = part(notice_message(entry("deactivated"), SENDER))
    assert "01/07/2026 à 10:30" in body
    assert "fichier perdu" in body
    assert "vous-même" in body
    assert "13/01/2028 à 09:30" in part(
        notice_message(entry("expired", not_after="2028-01-13T08:30:00+00:00"), SENDER)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        replace(entry("issued"), event="code"),
        replace(entry("issued"), event="unknown"),
        entry("issued", password="s3cret"),
        entry("issued", not_after="soon"),
        entry("expired", not_after=""),
        replace(entry("issued"), event="deactivated"),
        entry("deactivated", reason="unknown"),
        entry("deactivated", ended_by="mallory"),
        replace(entry("issued"), address="nobody"),
        replace(entry("issued"), parameters={}),
    ],
)
def test_what_no_letter_is_made_for(wrong: OutboxEntry) -> None:
    with pytest.raises(NoticeUnwritable) as caught:
        notice_message(wrong, SENDER)
    assert "s3cret" not in str(caught.value)
