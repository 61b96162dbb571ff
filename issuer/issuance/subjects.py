"""The identity writes itself into the certificate: a subject from a proven person, or from [pki].

Texts come as the identity has them. They are normalised (NFC) and their white space is
made single spaces, which X.520 matching ignores anyway (RFC 4518 2.6); nothing else is
changed. What cannot stand in a certificate is refused, never replaced.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from issuer.issuance.config import PkiConfig, ProfileConfig
from issuer.issuance.errors import SubjectRefused

AuthorityName = Literal["root", "issuing", "ocsp"]

MAX_NAME: Final = 256
"""X.520 allows 32,768; whatever is longer than this is no name, and no server would take it."""
MAX_SHORT: Final = 64
"""ub-common-name, ub-title, ub-serial-number (RFC 5280 A.1)."""

# Control and format characters (bidi overrides among them: a name must not be shown as
# another), surrogates, private use, unassigned, line and paragraph separators.
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What of an identity stands in its certificate, as the identity has it."""

    given_name: str
    family_name: str
    ehealth_id: str
    profession_code: str
    profession_label: str | None


def authority_name(pki: PkiConfig, name: AuthorityName) -> x509.Name:
    """C, O, organizationIdentifier, CN; the OCSP signer's has no organizationIdentifier."""
    common_name = {"root": pki.root_name, "issuing": pki.issuing_name, "ocsp": pki.ocsp_name}[name]
    attributes = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, pki.country),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, _text("organisation", pki.organisation, MAX_SHORT)),
    ]
    if name != "ocsp":
        identifier = _text("organisation_identifier", pki.organisation_identifier, MAX_SHORT)
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, identifier))
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, _text(f"{name}_name", common_name, MAX_SHORT)))
    return x509.Name(attributes)


def person_name(pki: PkiConfig, subject: Subject) -> x509.Name:
    """C, surname, givenName, serialNumber = eHealthID, title = profession code, CN; raises SubjectRefused."""
    family = _text("family_name", subject.family_name, MAX_NAME)
    given = _text("given_name", subject.given_name, MAX_NAME)
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, pki.country),
            x509.NameAttribute(NameOID.SURNAME, family),
            x509.NameAttribute(NameOID.GIVEN_NAME, given),
            _printable(NameOID.SERIAL_NUMBER, "ehealth_id", subject.ehealth_id),
            x509.NameAttribute(NameOID.TITLE, _text("profession_code", subject.profession_code, MAX_SHORT)),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name(given, family)),
        ]
    )


def admission(config: ProfileConfig, subject: Subject) -> x509.Admissions:
    """The profession once more, as text, by OID where one is configured, and with the registration number."""
    code = _text("profession_code", subject.profession_code, MAX_SHORT)
    oid = config.profession_oids.get(code)
    info = x509.ProfessionInfo(
        naming_authority=None,
        profession_items=[_text("profession_label", subject.profession_label or code, 128)],
        profession_oids=None if oid is None else [ObjectIdentifier(oid)],
        registration_number=_printable(NameOID.SERIAL_NUMBER, "ehealth_id", subject.ehealth_id).value,
        add_profession_info=None,
    )
    return x509.Admissions(authority=None, admissions=[x509.Admission(None, None, [info])])


def common_name(given: str, family: str) -> str:
    """The whole name where CN holds it; else less and less of the given names, then of the family name.

    Nothing is lost: surname and givenName stand in full beside it, and relying services
    tell people apart by serialNumber. The bound of 64 is in characters, but some readers
    count octets (``cryptography`` among them), so octets are counted: it serves both.
    """
    first = given.split(" ")[0]
    for candidate in (f"{given} {family}", f"{first} {family}", f"{first[0]}. {family}"):
        if len(candidate.encode()) <= MAX_SHORT:
            return candidate
    return _cut(candidate)


def _cut(text: str) -> str:
    """Cut after the last word that fits whole, or within a word, but never between a letter and its marks."""
    end = len(text)
    while len(text[:end].encode()) > MAX_SHORT or (end < len(text) and unicodedata.combining(text[end])):
        end -= 1
    words = max(text.rfind(" ", 0, end + 1), text.rfind("-", 0, end + 1))
    return text[: words if words > end // 2 else end].rstrip(" -")


def _text(field: str, value: str, limit: int) -> str:
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in value):
        raise SubjectRefused(f"{field}: a character that cannot stand in a certificate")
    text = " ".join(unicodedata.normalize("NFC", value).split())
    if not text:
        raise SubjectRefused(f"{field}: empty")
    if len(text) > limit:
        raise SubjectRefused(f"{field}: longer than {limit} characters")
    return text


def _printable(oid: ObjectIdentifier, field: str, value: str) -> x509.NameAttribute[str]:
    text = _text(field, value, MAX_SHORT)
    if not _PRINTABLE.fullmatch(text):
        raise SubjectRefused(f"{field}: not a PrintableString")
    return x509.NameAttribute(oid, text)
