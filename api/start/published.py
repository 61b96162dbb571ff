"""The comparison behind ``mycert crl verify``, put together from the settings."""

from __future__ import annotations

from api.layout import Layout
from api.settings import Settings
from issuer.clock import system_clock
from issuer.issuance.templates import Issuer
from issuer.publisher.reconcile import Difference, compare
from issuer.registry.database import Database


def compare_published(settings: Settings) -> list[Difference]:
    certificate = Layout(settings.home_path).certificate("issuing")
    database = Database(settings.database.registry, channel="registry", read_only=True, pool_size=1)
    try:
        with database.read() as connection:
            return compare(connection, Issuer.of("issuing", certificate), system_clock())
    finally:
        database.close()
