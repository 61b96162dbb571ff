"""The publisher's door for status: ``run/publisher.sock``, OCSP answers signed on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Litestar, Response, post
from litestar.params import RawBody
from litestar.status_codes import HTTP_200_OK

from api.health import Check, health_router
from api.problems import exception_handlers
from issuer.publisher.loop import Publisher
from issuer.publisher.responder import LiveResponder

_MAX_BODY = 16 * 1024
_RESPONSE = "application/ocsp-response"


class PublisherFailing(Exception):
    """Some task of the publisher does not work; health names it by this class."""


def build_publisher_app(
    *,
    responder: LiveResponder,
    publisher: Publisher,
    checks: Mapping[str, Check] | None = None,
    shown: Mapping[str, Any] | None = None,
) -> Litestar:
    """``POST /ocsp`` with a request in DER; 429 and 503 where nothing can be signed."""

    @post("/ocsp", status_code=HTTP_200_OK, media_type=_RESPONSE, sync_to_thread=True)
    def ocsp(body: RawBody) -> Response[bytes]:
        return Response(responder.answer(body), media_type=_RESPONSE)

    def works() -> None:
        if publisher.failing:
            raise PublisherFailing(", ".join(publisher.failing))

    def details() -> Mapping[str, Any]:
        return {**(shown or {}), "leads": publisher.leads, "failing": publisher.failing}

    return Litestar(
        route_handlers=[ocsp, health_router({"publication": works, **(checks or {})}, details)],
        exception_handlers=exception_handlers(),
        request_max_body_size=_MAX_BODY,
        openapi_config=None,
        logging_config=None,
    )
