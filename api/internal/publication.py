"""Between publisher and issuer: ``run/issuer-publisher.sock``, its application and its client.

The publisher can ask for a CRL, which the issuer makes from its own registry, and for a new
certificate for the OCSP signer's key, and for nothing else.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec
from litestar import Litestar, post
from litestar.params import FromPath, RawBody
from litestar.status_codes import HTTP_200_OK

from api.problems import exception_handlers
from api.socket_pass import local_client
from issuer.errors import CaUnavailable
from issuer.publisher.crl_issuer import CrlIssuer
from issuer.publisher.responder_issuer import ResponderIssuer

_MAX_BODY = 16 * 1024
_PKIX_CERT = "application/pkix-cert"


def build_publication_app(*, crl_issuer: CrlIssuer, responder_issuer: ResponderIssuer) -> Litestar:
    """The application behind ``run/issuer-publisher.sock``, in the issuer's process."""

    @post("/crls/{authority:str}", status_code=HTTP_200_OK, sync_to_thread=True)
    def issue_crl(authority: FromPath[str]) -> int:
        return crl_issuer.issue(authority)

    @post("/responder-certificate", status_code=HTTP_200_OK, media_type=_PKIX_CERT, sync_to_thread=True)
    def renew_responder(body: RawBody) -> bytes:
        return responder_issuer.renew(body)

    return Litestar(
        route_handlers=[issue_crl, renew_responder],
        exception_handlers=exception_handlers(),
        request_max_body_size=_MAX_BODY,
        openapi_config=None,
        logging_config=None,
    )


class PublicationClient:
    """The publisher's side: an ``issuer.publisher.signer.IssuerDoor``. Thread-safe."""

    def __init__(self, socket_path: str, *, timeout: float = 60.0) -> None:
        self._http = local_client(Path(socket_path), timeout=timeout)

    def close(self) -> None:
        self._http.close()

    def issue_crl(self, authority: str) -> int:
        return msgspec.json.decode(self._post(f"/crls/{authority}", b""), type=int)

    def renew_responder(self, request: bytes) -> bytes:
        return self._post("/responder-certificate", request)

    def _post(self, path: str, content: bytes) -> bytes:
        try:
            response = self._http.post(path, content=content)
        except httpx.HTTPError as error:
            raise CaUnavailable(f"the issuer does not answer: {type(error).__name__}") from None
        if response.is_error:
            raise CaUnavailable(f"the issuer refused {path}: {response.status_code} {response.text[:200]}")
        return response.content
