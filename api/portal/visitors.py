"""Who looks at a page: a language always, a session and a proven person where there is one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from litestar import Request

from api.journey.steps import Person
from api.portal.cookies import Cookies
from api.portal.sessions import Sessions, form_token, parse_cookie
from api.texts import Language, choose_language
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.errors import AssertionRefused, ProviderKeysUnavailable

_PLACE = re.compile(r"/(?!/)[A-Za-z0-9/_-]*")


class LoginNeeded(Exception):
    """Nobody is logged in here, or not any more."""

    code = "unauthenticated"

    def __init__(self, *, expired: bool) -> None:
        super().__init__("the session has ended" if expired else "no session")
        self.expired = expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    language: Language
    place: str
    """Where this page is, for coming back after a log-in or a change of language."""
    person: Person | None = None
    support: bool = False
    form_token: str = ""
    expired: bool = False

    def known(self) -> Person:
        """Raises LoginNeeded."""
        if self.person is None:
            raise LoginNeeded(expired=self.expired)
        return self.person


class Visitors:
    def __init__(self, *, sessions: Sessions, verifier: AssertionVerifier, cookies: Cookies) -> None:
        self._sessions = sessions
        self._verifier = verifier
        self._cookies = cookies

    def language(self, request: Request[Any, Any, Any]) -> Language:
        """Chosen on the page, else what the browser prefers."""
        chosen = self._cookies.read(request, "language")
        if chosen in set(Language):
            return Language(chosen)
        return choose_language(request.headers.get("accept-language"))

    def recognise(self, request: Request[Any, Any, Any]) -> Visitor:
        """Raises ProviderKeysUnavailable. The assertion is proven anew on each page."""
        language, place = self.language(request), self._place(request)
        value = self._cookies.read(request, "session")
        cookie = parse_cookie(value)
        assertion = None if cookie is None else self._sessions.find(cookie)
        if cookie is None or assertion is None:
            return Visitor(language=language, place=place, expired=bool(value))
        try:
            identity = self._verifier.verify(assertion)
        except ProviderKeysUnavailable:
            raise
        except AssertionRefused:
            return Visitor(language=language, place=place, expired=True)
        return Visitor(
            language=language,
            place=place,
            person=Person(identity=identity, assertion=assertion),
            support=self._verifier.is_support(identity),
            form_token=form_token(cookie),
        )

    @staticmethod
    def _place(request: Request[Any, Any, Any]) -> str:
        """Parts of a request have no page of their own; the request's page shows where it stands."""
        path = request.url.path
        parts = path.split("/")
        if parts[1] == "requests":
            return safe_place("/".join(parts[:3]) if parts[2:3] else "/")
        return safe_place(path) if request.method == "GET" or parts[1] == "stores" else "/"


def safe_place(place: str | None) -> str:
    """A path of ours and nothing else, whatever an address asks to be led on to."""
    return place if place is not None and _PLACE.fullmatch(place) else "/"
