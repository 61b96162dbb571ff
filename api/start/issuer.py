"""The issuer process: the one that signs. The worker's template starts before anything is loaded."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from api import logs
from api.internal.issuer_app import build_issuer_app
from api.internal.officer_app import build_officer_app
from api.internal.publication import build_publication_app
from api.layout import Layout
from api.settings import Settings
from api.sockets import Listener, run
from api.start.beginning import begin
from api.start.checks import in_order
from issuer.clock import Clock, system_clock, system_random
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.keys import provider_keys
from issuer.issuance.authority import Authority
from issuer.issuance.holding import Holdings
from issuer.issuance.issuing import Issuance
from issuer.issuance.keys import public_key
from issuer.issuance.keystore.workshop import Workshop
from issuer.issuance.officers import OfficerDesk
from issuer.issuance.profiles import load_profiles
from issuer.issuance.reaper import Reaper
from issuer.publisher.crl_issuer import CrlIssuer
from issuer.publisher.responder_issuer import ResponderIssuer
from issuer.registry.database import Database
from issuer.tokens import Token

log = logs.get_logger()


def main(settings: Settings) -> None:
    """Serve until SIGTERM. Refuses to start on a key, a certificate or a profile that is not sound."""
    standing = begin("issuer", settings)
    clock, random = system_clock, system_random
    layout = Layout(settings.home_path)
    workshop = Workshop(settings.keystore, random)
    shown = msgspec.to_builtins(workshop.start())
    log.info("worker-confinement", **shown)
    token = Token.open(settings.hsm.issuing, settings.hsm.issuing.read_pin())
    authority = open_authority(token, layout, clock)
    profiles = load_profiles(
        settings.pki, clock=clock, random=random, professional_key=settings.keystore.key_type
    )
    database = Database(settings.database.registry, channel="registry", pool_size=16)
    keys = provider_keys(settings.identity, clock)
    verifier = AssertionVerifier(settings.identity, keys, clock, allow_simulated=settings.demo.enabled)
    issuance = Issuance(
        database=database,
        authority=authority,
        profile=profiles.professional,
        workshop=workshop,
        config=settings.issuance,
        renewal=settings.renewal.rules,
        clock=clock,
        random=random,
    )
    reaper = Reaper(database, issuance, settings.issuance, clock)
    app = build_issuer_app(
        verifier=verifier,
        issuance=issuance,
        holdings=Holdings(database, clock),
        checks={
            "registry-database": in_order(database),
            "token": authority.probe,
            "keystore-template": workshop.check,
        },
        shown={"walls": standing, "worker_confinement": shown},
    )
    crl_issuer = CrlIssuer(database, authority, settings.publisher, clock)
    publication = build_publication_app(
        crl_issuer=crl_issuer,
        responder_issuer=ResponderIssuer(
            database=database,
            authority=authority,
            profile=profiles.ocsp,
            key=public_key(layout.certificate("ocsp").public_key()),
            config=settings.publisher,
            clock=clock,
            random=random,
        ),
    )
    officers = build_officer_app(
        desk=OfficerDesk(database, clock),
        crl_issuer=crl_issuer,
    )

    async def start() -> None:
        # What the previous run left behind ends before anybody is served; a failing database is tried again.
        with contextlib.suppress(SQLAlchemyError):
            await asyncio.to_thread(reaper.round)

    async def end() -> None:
        await asyncio.to_thread(issuance.close)
        workshop.close()
        token.close()

    run(
        [
            Listener(app=app, address=layout.address("issuer-web")),
            Listener(app=publication, address=layout.address("issuer-publisher")),
            Listener(app=officers, address=layout.address("issuer-officer")),
        ],
        background=[reaper.run],
        on_start=start,
        on_stop=end,
    )


def open_authority(token: Token, layout: Layout, clock: Clock) -> Authority:
    """The issuing CA from its certificate and the token's key; raises AuthorityRefused or an HsmError."""
    certificate = layout.certificate("issuing")
    key = token.private_key("issuing", public_key(certificate.public_key()))
    return Authority.open("issuing", certificate, key, (layout.certificate("root"),), now=clock())
