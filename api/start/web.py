"""The web process: journey's database, the registry to read, the issuer's socket. No PIN, no token."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from api import logs
from api.health import health_router
from api.internal.client import IssuerClient
from api.journey.codes import CodeBook
from api.journey.steps import Steps
from api.journey.use_cases import UseCases
from api.layout import Layout
from api.mail.transport import Transport
from api.portal.desk import Desk
from api.settings import Settings
from api.sockets import Limits, Listener, TcpAddress, run
from api.start.beginning import begin
from api.start.checks import Behind, in_order
from api.texts import Texts
from api.web.app import build_web_app
from api.web.budget import CallBudget
from api.web.forward import ForwardStatus
from api.web.headers import ProtectiveHeaders
from api.web.waiting import Settlements
from issuer.clock import system_clock, system_random
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.keys import provider_keys
from issuer.registry.database import Database
from issuer.secrets import Secret

log = logs.get_logger()


def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    standing = begin("web", settings)
    layout = Layout(settings.home_path)
    clock, random = system_clock, system_random
    database = Database(settings.database.journey, channel="journey")
    registry = Database(settings.database.registry, channel="registry", read_only=True)
    issuer_socket = layout.socket("issuer-web")
    issuer = IssuerClient(str(issuer_socket))
    keys = provider_keys(settings.identity, clock)
    verifier = AssertionVerifier(settings.identity, keys, clock, allow_simulated=settings.demo.enabled)
    cases = UseCases(
        Steps(
            database=database,
            registry=registry,
            issuer=issuer,
            transport=Transport(settings.mail),
            codes=CodeBook(Secret.from_file(Path(settings.journey.code_key_file)), random),
            texts=Texts(),
            config=settings.journey,
            renewal=settings.renewal.rules,
            clock=clock,
            random=random,
        )
    )
    settlements = Settlements(registry)
    budget = CallBudget(settings.limits.calls_per_minute, clock)
    desk = None
    if settings.portal:
        desk = Desk(
            settings.portal,
            settings.identity,
            public_url=settings.server.address,
            demo=settings.demo.enabled,
            cases=cases,
            verifier=verifier,
            budget=budget,
        )
    issuer_behind = Behind(issuer_socket)
    app = build_web_app(
        verifier=verifier,
        cases=cases,
        settlements=settlements,
        budget=budget,
        health=health_router(
            checks={
                "journey-database": in_order(database),
                "registry-database": in_order(registry),
                "issuer": issuer_behind,
                "identity-provider": keys.require_keys,
            },
            shown=lambda: {"walls": standing, "issuer": issuer_behind.shown},
            metrics_behind={"issuer": issuer_behind.metrics},
        ),
        desk=desk,
    )

    def sweep(stop: threading.Event) -> None:
        while not stop.wait(settings.journey.sweep_every):
            try:
                cases.journey.sweep()
                if desk:
                    desk.sessions.purge()
            except SQLAlchemyError as error:
                log.warning("sweep-failed", cause=type(error).__name__)

    async def end() -> None:
        await front.close()
        issuer.close()

    front = ForwardStatus(app, host=settings.server.status_host, port=settings.server.status)
    listener = Listener(
        app=ProtectiveHeaders(front, desk.page_headers if desk else None),
        address=TcpAddress(host=settings.server.host, port=settings.server.port),
        limits=Limits(),
    )
    run([listener], background=[sweep], on_end=settlements.close, on_stop=end)
