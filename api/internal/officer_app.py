"""The issuer's door for officers: search and revoke stores, have a CRL made."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Litestar, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK

from api.internal.wire import Wire
from api.problems import exception_handlers
from issuer.issuance.officers import OfficerDesk
from issuer.publisher.crl_issuer import CrlIssuer
from issuer.registry.stores import Store
from policies.lifecycle import StoreStatus
from policies.reasons import RevocationReason

_MAX_BODY = 64 * 1024

Officer = Annotated[str, msgspec.Meta(min_length=1, max_length=48, pattern=r"^[\w.@-]+\Z")]


class StoreRecord(Wire, frozen=True, kw_only=True):
    """What officers and support see of a store: never a secret, for the registry holds none."""

    id: str
    status: str
    ehealth_id: str
    given_name: str
    family_name: str
    profession_code: str
    email: str
    serial_number: str | None
    sha256_fingerprint: str | None
    key_type: str
    keystore_profile: str
    created_at: datetime
    not_before: datetime | None
    not_after: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    reason: str | None
    delivered: bool


class StoreRecords(Wire, frozen=True, kw_only=True):
    items: list[StoreRecord]


class RevokeMessage(Wire, frozen=True, kw_only=True):
    store_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]
    reason: RevocationReason
    officer: Officer
    dry_run: bool = False


class CrlOrder(Wire, frozen=True, kw_only=True):
    officer: Officer
    dry_run: bool = False


class CrlMessage(Wire, frozen=True, kw_only=True):
    authority: str
    number: int | None
    """None where it was a dry run."""


def record_of(store: Store) -> StoreRecord:
    """Its own fields alone: a column that is added to the registry shows nothing by that."""
    values = asdict(store) | {"serial_number": store.serial, "delivered": store.delivered_at is not None}
    return StoreRecord(**{name: values[name] for name in StoreRecord.__struct_fields__})


@get("/stores", sync_to_thread=True)
def search(
    desk: NamedDependency[OfficerDesk],
    officer: FromQuery[Officer],
    ehealth_id: FromQuery[str | None] = None,
    serial: FromQuery[str | None] = None,
    status: FromQuery[StoreStatus | None] = None,
    limit: FromQuery[int] = 100,
) -> StoreRecords:
    limit = max(1, min(limit, 10_000))
    found = desk.search(officer, ehealth_id=ehealth_id, serial=serial, status=status, limit=limit)
    return StoreRecords(items=[record_of(store) for store in found])


@get("/stores/{store_id:str}", sync_to_thread=True)
def show(
    desk: NamedDependency[OfficerDesk], store_id: FromPath[str], officer: FromQuery[Officer]
) -> StoreRecord:
    return record_of(desk.show(officer, store_id))


@post("/revocations", status_code=HTTP_200_OK, sync_to_thread=True)
def revoke(desk: NamedDependency[OfficerDesk], data: JSONBody[RevokeMessage]) -> StoreRecords:
    ended = desk.revoke(data.store_ids, data.reason, data.officer, dry_run=data.dry_run)
    return StoreRecords(items=[record_of(store) for store in ended])


def build_officer_app(*, desk: OfficerDesk, crl_issuer: CrlIssuer) -> Litestar:
    """The application behind ``run/issuer-officer``."""

    @post("/crls/{authority:str}", status_code=HTTP_200_OK, sync_to_thread=True)
    def issue_crl(authority: FromPath[str], data: JSONBody[CrlOrder]) -> CrlMessage:
        """A new one whether or not the present one is current. Raises NotFound for no authority of ours."""
        crl_issuer.check(authority)
        number = None if data.dry_run else crl_issuer.issue(authority, officer=data.officer)
        return CrlMessage(authority=authority, number=number)

    return Litestar(
        route_handlers=[search, show, revoke, issue_crl],
        dependencies={"desk": Provide(lambda: desk, sync_to_thread=False)},
        exception_handlers=exception_handlers(),
        request_max_body_size=_MAX_BODY,
        openapi_config=None,
        logging_config=None,
    )
