"""What an officer does to stores: look, and revoke one or many (R23, R30). Each act names who did it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from issuer.audit.events import record
from issuer.clock import Clock
from issuer.issuance.ending import end_store
from issuer.registry import stores
from issuer.registry.database import Database
from issuer.registry.stores import Store
from issuer.registry.tables import audit_events
from policies.errors import AlreadyDeactivated
from policies.lifecycle import StoreEvent, StoreStatus, statuses_before
from policies.reasons import RevocationReason


@dataclass(frozen=True, slots=True)
class OfficerDesk:
    database: Database
    clock: Clock

    def search(
        self,
        officer: str,
        *,
        ehealth_id: str | None,
        serial: str | None,
        status: StoreStatus | None,
        limit: int,
    ) -> list[Store]:
        """Newest first. What was asked for is recorded, and how many were shown."""
        with self.database.write() as connection:
            found = stores.search(
                connection, ehealth_id=ehealth_id, serial=serial, status=status, limit=limit
            )
            record(
                connection,
                audit_events,
                at=self.clock(),
                actor=f"officer:{officer}",
                action="stores-searched",
                object_id="stores",
                ehealth_id=ehealth_id,
                details={"serial": serial, "status": status, "shown": len(found)},
            )
        return found

    def show(self, officer: str, store_id: str) -> Store:
        """Raises NotFound."""
        with self.database.write() as connection:
            found = stores.find(connection, store_id)
            stores.note(connection, found, "store-shown", actor=f"officer:{officer}", now=self.clock())
        return found

    def revoke(
        self, store_ids: Sequence[str], reason: RevocationReason, officer: str, *, dry_run: bool
    ) -> list[Store]:
        """All of them in one transaction, or none. Raises NotFound, AlreadyDeactivated."""
        with self.database.write() as connection:
            found = stores.lock_all(connection, store_ids)
            for store in found:
                if store.status not in statuses_before(StoreEvent.REVOKE):
                    raise AlreadyDeactivated(store.id)
                if not dry_run:
                    now = self.clock()
                    end_store(
                        connection, store, StoreEvent.REVOKE, reason, actor=f"officer:{officer}", now=now
                    )
            return [stores.find(connection, store.id) for store in found]
