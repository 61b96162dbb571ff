"""Mail to professionals: addresses, letters, SMTP, and the outbox's sender."""

from api.mail.address import EmailAddress, parse_address
from api.mail.errors import AddressRefused, MailError, MailPostponed, MailRefused, MailUnavailable
from api.mail.messages import code_message, notice_message
from api.mail.transport import MailConfig, Transport

__all__ = [
    "AddressRefused",
    "EmailAddress",
    "MailConfig",
    "MailError",
    "MailPostponed",
    "MailRefused",
    "MailUnavailable",
    "Transport",
    "code_message",
    "notice_message",
    "parse_address",
]
