"""What the handlers of the portal share, put together once."""

from __future__ import annotations

from api.journey.support import SupportDesk
from api.journey.use_cases import UseCases
from api.portal.config import PortalConfig
from api.portal.cookies import Cookies
from api.portal.pages import Pages
from api.portal.provider import Provider
from api.portal.sessions import Sessions
from api.portal.visitors import Visitors
from api.web.budget import CallBudget
from issuer.clock import RandomBytes
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.config import IdentityConfig
from issuer.registry.database import Database
from policies.renewal import RenewalRules


class Desk:
    def __init__(
        self,
        config: PortalConfig,
        identity: IdentityConfig,
        *,
        public_url: str,
        demo: bool,
        database: Database,
        registry: Database,
        cases: UseCases,
        renewal: RenewalRules,
        code_lifetime: int,
        verifier: AssertionVerifier,
        budget: CallBudget,
        random: RandomBytes,
    ) -> None:
        """``code_lifetime`` in seconds. Raises SecretFileRefused or OSError for the client's secret."""
        self.config = config
        self.identity = identity
        self.public_url = public_url
        self.cases = cases
        self.renewal = renewal
        self.code_lifetime = code_lifetime
        self.verifier = verifier
        self.budget = budget
        self.random = random
        self.support = SupportDesk(
            database=database, registry=registry, held_stores=cases.held_stores, clock=cases.clock
        )
        self.cookies = Cookies(public_url=public_url)
        self.sessions = Sessions(database, config, cases.clock, random)
        self.visitors = Visitors(sessions=self.sessions, verifier=verifier, cookies=self.cookies)
        self.provider = Provider(config, identity, public_url=public_url, clock=cases.clock)
        self.pages = Pages(demo=demo)
