"""The portal's part of the web process; nothing where the section [portal] is missing."""

from __future__ import annotations

from pathlib import Path

from api.journey.support import SupportDesk
from api.journey.use_cases import UseCases
from api.portal.config import PortalConfig
from api.portal.cookies import Cookies
from api.portal.desk import Desk
from api.portal.login import CALLBACK
from api.portal.pages import Pages
from api.portal.provider import Provider
from api.portal.sessions import Sessions
from api.portal.visitors import Visitors
from api.settings import Settings
from api.web.budget import CallBudget
from issuer.clock import RandomBytes
from issuer.identity.assertion import AssertionVerifier
from issuer.registry.database import Database
from issuer.secrets import Secret


def open_portal(
    settings: Settings,
    config: PortalConfig,
    *,
    database: Database,
    registry: Database,
    cases: UseCases,
    verifier: AssertionVerifier,
    budget: CallBudget,
    random: RandomBytes,
) -> Desk:
    address, clock = settings.server.address, cases.clock
    sessions = Sessions(database, config, clock, random)
    cookies = Cookies(public_url=address)
    secret = config.client_secret_file
    return Desk(
        config=config,
        public_url=address,
        issuer=settings.identity.issuer,
        client_id=settings.identity.audience,
        cases=cases,
        support=SupportDesk(database=database, registry=registry, held_stores=cases.held_stores, clock=clock),
        renewal=settings.renewal.rules,
        code_lifetime=settings.journey.code_lifetime,
        verifier=verifier,
        provider=Provider(
            config,
            settings.identity,
            redirect_uri=f"{address}{CALLBACK}",
            home=f"{address}/",
            secret=None if secret is None else Secret.from_file(Path(secret)),
            clock=clock,
        ),
        sessions=sessions,
        visitors=Visitors(sessions=sessions, verifier=verifier, cookies=cookies, budget=budget),
        cookies=cookies,
        pages=Pages(demo=settings.demo.enabled),
        random=random,
    )
