"""What the responder knows, in memory: written by the follower's thread, read by the event loop.

Every slot is one (hash, serial); its document is replaced in one step, so a reader sees the
old or the new. A serial that the registry says is revoked loses its good answer at once,
whether or not the publisher has signed another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from api.status.config import StatusConfig
from api.status.documents import MAX_AGE_FINAL, OCSP, Document
from issuer.publisher.ocsp_request import HASH_NAMES, CertId, HashName
from issuer.registry.answers import Answer

REMEMBERED_REQUESTS = 65_536
"""Requests whose very octets are known, so that they need not be read again."""


class Slot:
    __slots__ = ("document",)

    def __init__(self) -> None:
        self.document: Document | None = None


class Index:
    def __init__(self, config: StatusConfig, monotonic: Callable[[], float]) -> None:
        self._config = config
        self._monotonic = monotonic
        self._slots: dict[HashName, dict[int, Slot]] = {name: {} for name in HASH_NAMES}
        self._revoked: set[int] = set()
        self._requests: dict[bytes, Slot] = {}
        self._followed_at: float | None = None
        self.crls: dict[str, Document] = {}

    # The event loop's side.

    @property
    def vouches(self) -> bool:
        """Whether the registry has been followed lately; nothing is said of anybody otherwise."""
        followed_at = self._followed_at
        return followed_at is not None and self._monotonic() - followed_at <= self._config.max_lag

    def known_request(self, octets: bytes) -> Slot | None:
        return self._requests.get(octets)

    def remember_request(self, octets: bytes, slot: Slot) -> None:
        if len(self._requests) >= REMEMBERED_REQUESTS:
            self._requests.clear()
        self._requests[octets] = slot

    def slot(self, cert_id: CertId) -> Slot | None:
        return self._slots[cert_id.hash_name].get(cert_id.serial)

    def __len__(self) -> int:
        return len(self._slots["sha1"])

    # The follower's side.

    def followed(self) -> None:
        self._followed_at = self._monotonic()

    def lost(self) -> None:
        self._followed_at = None

    def put_crl(self, name: str, crl: Document) -> None:
        self.crls[name] = crl

    def revoke(self, serials: Iterable[int]) -> None:
        for serial in serials:
            self._revoked.add(serial)
            for slots in self._slots.values():
                slot = slots.get(serial)
                if slot is not None and slot.document is not None and not slot.document.final:
                    slot.document = None

    def put(self, answer: Answer) -> None:
        """Revocations must have been told before: a good answer of a revoked serial is dropped here."""
        serial, revoked = int(answer.serial, 16), answer.status == "revoked"
        if serial in self._revoked and not revoked:
            return
        slots = self._slots["sha1" if answer.hash_algorithm == "sha1" else "sha256"]
        slot = slots.get(serial) or slots.setdefault(serial, Slot())
        slot.document = Document(
            answer.answer,
            content_type=OCSP,
            this_update=answer.this_update,
            next_update=answer.next_update,
            max_age=MAX_AGE_FINAL if revoked else self._config.max_age,
            final=revoked,
        )

    def forget_ended(self, now: float) -> None:
        """Drop what nobody renews any more: certificates that have expired."""
        for slots in self._slots.values():
            over = [s for s, slot in slots.items() if slot.document is not None and slot.document.over(now)]
            for serial in over:
                slots.pop(serial).document = None
