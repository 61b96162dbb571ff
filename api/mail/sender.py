"""Empties the outbox: at least once, with a Message-ID by which a second time is recognised (R24).

An entry is leased, sent, then marked. A crash between the server's acceptance and our mark
leaves it leased; after the lease it is sent again, as the same message.
"""

from __future__ import annotations

import threading
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from api.logs import get_logger
from api.mail.errors import MailPostponed, MailRefused, MailUnavailable, NoticeUnwritable
from api.mail.messages import notice_message
from api.mail.transport import Conversation, Transport
from issuer.clock import Clock
from issuer.registry import outbox
from issuer.registry.database import Database
from issuer.registry.outbox import OutboxEntry

log = get_logger()

BACK_OFF = (10, 30, 120, 600, 1800, 3600)
"""Seconds until the next try; the last one repeats, for nothing is ever given up but refusals."""
UNWRITABLE_RETRY = 3600
LEASE = 600
BATCH = 10


class OutboxSender:
    """The mailer's one thread. It alone, with the issuer's reaper, writes the outbox's sending state."""

    def __init__(self, database: Database, transport: Transport, clock: Clock) -> None:
        self._database = database
        self._transport = transport
        self._clock = clock

    def run(self, stop: threading.Event, poll: float) -> None:
        """Until ``stop``; what fails is logged and tried again on the next round."""
        while not stop.is_set():
            try:
                taken = self.send_due(stop)
            except SQLAlchemyError as error:
                log.error("outbox-unreachable", cause=type(error).__name__)
                taken = 0
            if not taken:
                stop.wait(poll)

    def send_due(self, stop: threading.Event | None = None) -> int:
        """How many entries were taken. Each one's fate is committed before the next is tried."""
        now = self._clock()
        with self._database.write() as connection:
            entries = outbox.claim_due(connection, now, now + timedelta(seconds=LEASE), BATCH)
        down: MailUnavailable | None = None
        with Conversation(self._transport) as conversation:
            for entry in entries:
                if stop is not None and stop.is_set():
                    self._put_off(entry, 0, "the mailer stopped")
                elif down is not None:
                    # One time-out is enough to know; the others need not wait for theirs.
                    self._put_off(entry, _pause(entry), str(down))
                else:
                    down = self._send(entry, conversation)
        return len(entries)

    def _send(self, entry: OutboxEntry, conversation: Conversation) -> MailUnavailable | None:
        """The server's own failure, if that was the reason."""
        try:
            conversation.send(notice_message(entry, self._transport.sender))
        except MailPostponed as error:
            self._put_off(entry, _pause(entry), str(error))
        except MailUnavailable as error:
            self._put_off(entry, _pause(entry), str(error))
            return error
        except MailRefused as error:
            self._put_off(entry, None, str(error))
        except NoticeUnwritable as error:
            self._put_off(entry, UNWRITABLE_RETRY, str(error))
        else:
            with self._database.write() as connection:
                outbox.mark_sent(connection, entry.id, self._clock())
            log.info("mail-sent", entry=entry.id, event_kind=entry.event)
        return None

    def _put_off(self, entry: OutboxEntry, pause: int | None, cause: str) -> None:
        log.warning("mail-not-sent", entry=entry.id, event_kind=entry.event, retry_in=pause, cause=cause)
        with self._database.write() as connection:
            now = self._clock()
            retry_at = None if pause is None else now + timedelta(seconds=pause)
            outbox.mark_failed(connection, entry.id, now, retry_at=retry_at, error=cause)


def _pause(entry: OutboxEntry) -> int:
    return BACK_OFF[min(entry.attempts, len(BACK_OFF) - 1)]
