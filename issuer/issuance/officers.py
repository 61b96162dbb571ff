"""What an officer does to stores: revoke one or many (R23). Each act names who did it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from issuer.clock import Clock
from issuer.issuance.ending import end_store
from issuer.registry import stores
from issuer.registry.database import Database
from issuer.registry.stores import Store
from policies.errors import AlreadyDeactivated
from policies.lifecycle import StoreEvent, statuses_before
from policies.reasons import RevocationReason


@dataclass(frozen=True, slots=True)
class OfficerDesk:
    database: Database
    clock: Clock

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
