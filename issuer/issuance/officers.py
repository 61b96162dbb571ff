"""What an officer does to stores: look, and revoke one or many (R23, R31). Each act names who did it."""

from __future__ import annotations

from collections.abc import Sequence

from issuer.clock import Clock
from issuer.issuance.ending import end_store
from issuer.registry import stores
from issuer.registry.database import Database
from issuer.registry.stores import Store
from policies.errors import AlreadyDeactivated
from policies.lifecycle import StoreEvent, StoreStatus, statuses_before
from policies.reasons import RevocationReason


class OfficerDesk:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def search(
        self, *, ehealth_id: str | None, serial: str | None, status: StoreStatus | None, limit: int
    ) -> list[Store]:
        with self._database.read() as connection:
            return stores.search(connection, ehealth_id=ehealth_id, serial=serial, status=status, limit=limit)

    def show(self, store_id: str) -> Store:
        """Raises NotFound."""
        with self._database.read() as connection:
            return stores.find(connection, store_id)

    def revoke(
        self, store_ids: Sequence[str], reason: RevocationReason, officer: str, *, dry_run: bool
    ) -> list[Store]:
        """All of them in one transaction, or none. Raises NotFound, AlreadyDeactivated."""
        with self._database.write() as connection:
            found = stores.lock_all(connection, store_ids)
            for store in found:
                if store.status not in statuses_before(StoreEvent.REVOKE):
                    raise AlreadyDeactivated(store.id)
                if not dry_run:
                    now = self._clock()
                    end_store(
                        connection, store, StoreEvent.REVOKE, reason, actor=f"officer:{officer}", now=now
                    )
            return [stores.find(connection, store.id) for store in found]
