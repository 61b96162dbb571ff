"""The portal's four cookies. Under TLS their names bind them to this host (RFC 6265bis 4.1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import Cookie

_YEAR = 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    """``public_url`` decides: where it is https, every cookie is Secure and prefixed."""

    public_url: str

    @property
    def secure(self) -> bool:
        return urlsplit(self.public_url).scheme == "https"

    def session(self, value: str) -> Cookie:
        # Lax, for the way back from the provider is a navigation from another site.
        return self._make("session", value)

    def attempt(self, value: str, lifetime: int) -> Cookie:
        return self._make("login", value, max_age=lifetime)

    def language(self, value: str) -> Cookie:
        return self._make("language", value, max_age=_YEAR)

    def delivery(self, value: str, request_id: str) -> Cookie:
        """The delivery token: goes to the pages of its own request alone, never from another site."""
        return self._make("delivery", value, path=f"/requests/{request_id}", same_site="strict", max_age=3600)

    def read(self, request: Request[Any, Any, Any], name: str) -> str | None:
        return request.cookies.get(self._name(name, "/requests/" if name == "delivery" else "/"))

    def _name(self, name: str, path: str) -> str:
        if not self.secure:
            return f"mycert-{name}"
        return f"__Host-mycert-{name}" if path == "/" else f"__Secure-mycert-{name}"

    def _make(
        self,
        name: str,
        value: str,
        *,
        path: str = "/",
        max_age: int | None = None,
        same_site: Literal["lax", "strict"] = "lax",
    ) -> Cookie:
        return Cookie(
            key=self._name(name, path),
            value=value,
            path=path,
            max_age=max_age if value else 0,
            secure=self.secure,
            httponly=True,
            samesite=same_site,
        )
