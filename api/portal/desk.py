"""What the handlers of the portal share, put together once."""

from __future__ import annotations

from api.journey.use_cases import UseCases
from api.portal.config import PortalConfig
from api.portal.cookies import Cookies
from api.portal.guard import page_headers
from api.portal.pages import Pages
from api.portal.provider import Provider
from api.portal.sessions import Sessions
from api.web.budget import CallBudget
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.config import IdentityConfig


class Desk:
    def __init__(
        self,
        config: PortalConfig,
        identity: IdentityConfig,
        *,
        public_url: str,
        demo: bool,
        cases: UseCases,
        verifier: AssertionVerifier,
        budget: CallBudget,
    ) -> None:
        """Raises SecretFileRefused or OSError for the client's secret."""
        self.config = config
        self.identity = identity
        self.public_url = public_url
        self.cases = cases
        self.renewal = cases.steps.renewal
        self.verifier = verifier
        self.budget = budget
        self.random = cases.steps.random
        self.cookies = Cookies(public_url=public_url)
        self.sessions = Sessions(cases.steps.database, config, cases.clock, self.random)
        self.provider = Provider(config, identity, public_url=public_url, clock=cases.clock)
        self.pages = Pages(demo=demo)

    def page_headers(self) -> dict[bytes, bytes]:
        return page_headers(provider_origin=self.provider.origin, secure=self.cookies.secure)
