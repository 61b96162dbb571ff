"""E-mail addresses, checked by syntax alone: the code that arrives is the proof of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from email.headerregistry import Address

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from api.mail.errors import AddressRefused

MAX_LENGTH = 254
"""RFC 5321 4.5.3.1.3: 256 octets with the angle brackets."""

# Syntax alone: whether mail arrives at a .local or .test is for the code to show. This is the
# library's own documented way to accept such names; it has no argument for them.
SPECIAL_USE_DOMAIN_NAMES.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailAddress:
    text: str
    """For people: the domain in its own letters, in lower case."""
    wire: str
    """For SMTP: ASCII, the domain as A-labels (RFC 5891)."""

    def __str__(self) -> str:
        return self.text


def parse_address(text: str) -> EmailAddress:
    """Raises AddressRefused: for quoted local parts, literals, display names and control
    characters too, and for local parts that need SMTPUTF8, which many servers still lack."""
    if len(text) > MAX_LENGTH:
        raise AddressRefused("longer than an address may be")
    try:
        valid = validate_email(
            text.strip(" "),
            allow_smtputf8=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            check_deliverability=False,
            strict=True,
        )
    except EmailNotValidError as error:
        raise AddressRefused(type(error).__name__) from None
    wire = valid.ascii_email
    if wire is None or len(wire) > MAX_LENGTH:
        raise AddressRefused("too long on the wire")
    try:
        # The header's parser decodes what looks like an encoded word (RFC 2047), and refuses it here.
        unread = Address(addr_spec=wire).addr_spec != wire
    except ValueError:
        unread = True
    if unread:
        raise AddressRefused("no header can carry it")
    return EmailAddress(text=valid.normalized, wire=wire)
