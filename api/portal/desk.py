"""What the handlers of the portal share, put together once in the composition root."""

from __future__ import annotations

from dataclasses import dataclass

from api.journey.support import SupportDesk
from api.journey.use_cases import UseCases
from api.portal.config import PortalConfig
from api.portal.cookies import Cookies
from api.portal.pages import Pages
from api.portal.provider import Provider
from api.portal.sessions import Sessions
from api.portal.visitors import Visitors
from issuer.clock import RandomBytes
from issuer.identity.assertion import AssertionVerifier
from policies.renewal import RenewalRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    config: PortalConfig
    public_url: str
    issuer: str
    client_id: str
    cases: UseCases
    support: SupportDesk
    renewal: RenewalRules
    code_lifetime: int
    """In seconds."""
    verifier: AssertionVerifier
    provider: Provider
    sessions: Sessions
    visitors: Visitors
    cookies: Cookies
    pages: Pages
    random: RandomBytes
