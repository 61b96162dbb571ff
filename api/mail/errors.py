"""What can go wrong with mail; ``code`` is the contract's problem code. Messages name no address."""

from __future__ import annotations

from typing import ClassVar


class MailError(Exception):
    code: ClassVar[str] = "internal"


class AddressRefused(MailError):
    """Not an address by its syntax, or one that plain SMTP cannot carry."""

    code = "email-invalid"


class MailUnavailable(MailError):
    """The mail server cannot be used now, whoever the recipient is."""

    code = "mail-unavailable"


class MailPostponed(MailUnavailable):
    """The server works, but does not take this message now (4yz)."""


class MailRefused(MailError):
    """The server will never take this message for this recipient (5yz)."""

    code = "email-invalid"


class MessageRefused(MailRefused):
    """The recipient was taken, the message was not (5yz after DATA): not the address's fault."""

    code = "mail-unavailable"


class NoticeUnwritable(MailError):
    """An outbox entry that no catalogue has a text for: a fault of ours, mended by a release."""
