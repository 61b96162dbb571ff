"""The OpenAPI document of ``/api/v1``: what the framework derives from the handlers, completed.

The framework knows neither our problems nor which codes an operation may answer with. Each handler says so
in its options (:func:`may`); what any call may meet is said here once.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Litestar, Request
from litestar.enums import OpenAPIMediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import Method

from api.problems import MEDIA_TYPE, PROBLEMS, problem
from api.web.schemas import DELIVERY_PATTERN

_PROBLEMS: Final = "problems"
_ALWAYS: Final = ("unauthenticated", "too-large", "invalid-request", "too-many-requests", "internal")

# The problems that several operations share, for :func:`may`.
GATES: Final = ("account-not-valid", "not-luxtrust", "ehealthid-not-primary", "not-health-professional")
FRESH: Final = ("authentication-too-old",)
STEP: Final = ("wrong-state", "ca-unavailable")

_EXAMPLE_ID: Final = "0b54e6a6-0d0f-4c5f-8f27-0d7c1f6d2c11"
_EXAMPLE_DELIVERY: Final = "bXlDZXJ0IGRvY3VtZW50YXRpb24gZXhhbXBsZSB0b2s"

_PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `code` is what programs look at; title and detail are for people.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri", "pattern": "^urn:mycert:problem:[a-z0-9-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": sorted(PROBLEMS)},
        "attempts_left": {"type": "integer", "minimum": 0, "description": "With `code-invalid`."},
        "renewable_from": {
            "type": "string",
            "format": "date-time",
            "description": "With `renewal-too-early`.",
        },
        "retry_after": {"type": "integer", "minimum": 1, "description": "Seconds; as in Retry-After."},
    },
}
_RETRY_AFTER: Final = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}},
    429: {"Retry-After": _RETRY_AFTER},
    503: {"Retry-After": _RETRY_AFTER},
}
_ACCEPT_LANGUAGE: Final = {
    "name": "Accept-Language",
    "in": "header",
    "required": False,
    "description": "French (`fr`), German (`de`) or English (`en`); French where none of them fits.",
    "schema": {"type": "string"},
    "example": "fr-LU, de;q=0.5",
}
_PREFERENCE_APPLIED: Final = {
    "description": "RFC 7240: the wait that was applied, where one was asked for.",
    "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
}
_OF_REQUEST: Final = (
    *("showRequest", "acceptTerms", "setEmail", "resendCode", "verify"),
    *("password", "keystore", "complete", "cancel"),
)
_OF_DELIVERY: Final = ("showRequest", "password", "keystore", "complete", "cancel")


def may(*codes: str) -> dict[str, Any]:
    """A handler's option: the problems it answers with, besides those that any call may meet."""
    unknown = set(codes) - PROBLEMS.keys()
    if unknown:
        raise ValueError(f"no such problem: {sorted(unknown)}")
    return {_PROBLEMS: codes}


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="myCert",
        version="1",
        description="Certificate stores for Luxembourg's health professionals: the portal's way to them.",
        path="/schema",
        render_plugins=[_Document()],
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        security=[{"assertion": []}],
        components=Components(
            security_schemes={
                "assertion": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="The identity provider's signed assertion of the person who logged in.",
                )
            }
        ),
    )


class _Document(OpenAPIRenderPlugin):
    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON)
        self._rendered: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._rendered is None:
            self._rendered = msgspec.json.encode(complete(openapi_schema, request.app))
        return self._rendered


def document(app: Litestar) -> dict[str, Any]:
    """What ``/schema/openapi.json`` serves."""
    return complete(app.openapi_schema.to_schema(), app)


def complete(schema: dict[str, Any], app: Litestar) -> dict[str, Any]:
    # A copy of its own, so that a second completion begins at the same place.
    schema = msgspec.json.decode(msgspec.json.encode(schema))
    for path, method, handler in _handlers(app):
        _complete_operation(schema["paths"][path][method], handler, method, by_id="{" in path)
    schema["components"]["responses"] = {
        code: _response(entry[0], [code]) for code, entry in sorted(PROBLEMS.items())
    }
    components = schema["components"]["schemas"]
    components["Problem"] = _PROBLEM_SCHEMA
    for name, component in components.items():
        if name.endswith("In"):
            component["additionalProperties"] = False
    # Optional to the parser, so that its absence has a code of its own; not to a caller.
    components["DeactivationIn"]["required"] = ["reason", "confirm"]
    del components["DeactivationIn"]["properties"]["confirm"]["default"]
    return schema


def _handlers(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and _PROBLEMS in handler.opt:
                for method in handler.http_methods:
                    yield route.path_format, method.lower(), handler


def _complete_operation(
    operation: dict[str, Any], handler: HTTPRouteHandler, method: str, *, by_id: bool
) -> None:
    operation.pop("deprecated", None)
    operation["tags"] = ["stores" if "store" in handler.handler_name else "requests"]
    parameters = [_plain(parameter) for parameter in operation.get("parameters", ())]
    if "language" in handler.parsed_fn_signature.parameters:
        parameters.append(_ACCEPT_LANGUAGE)
    if parameters:
        operation["parameters"] = parameters
    if "requestBody" in operation:
        _settle_body(operation["requestBody"])
    success = str(handler.status_code)
    responses = {success: operation["responses"][success]}
    responses[success]["description"] = HTTPStatus(handler.status_code).phrase
    if "Prefer" in {parameter["name"] for parameter in parameters}:
        responses[success]["headers"] = {"Preference-Applied": _PREFERENCE_APPLIED}
    if links := _links(operation["operationId"]):
        responses[success]["links"] = links
    codes = {*_ALWAYS, *handler.opt[_PROBLEMS]}
    codes |= {"not-found"} if by_id else set()
    codes |= {"not-acceptable"} if handler.status_code != HTTPStatus.NO_CONTENT else set()
    codes |= {"unsupported-media-type"} if "requestBody" in operation else set()
    for status in sorted({PROBLEMS[code][0] for code in codes}):
        of_status = sorted(code for code in codes if PROBLEMS[code][0] == status)
        one = {"$ref": f"#/components/responses/{of_status[0]}"}
        responses[str(status)] = one if len(of_status) == 1 else _response(status, of_status)
    operation["responses"] = responses


def _plain(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be absent is not one that may be null."""
    parameter.pop("deprecated", None)
    schema = parameter["schema"]
    if "oneOf" in schema:
        schema |= next(kind for kind in schema.pop("oneOf") if kind.get("type") != "null")
    if parameter["in"] == "path":
        parameter["example"] = _EXAMPLE_ID
    if parameter["name"] in ("Delivery-Token", "Delivery-Key"):
        schema["pattern"] = DELIVERY_PATTERN
        parameter["example"] = _EXAMPLE_DELIVERY
    return parameter


def _settle_body(body: dict[str, Any]) -> None:
    """A body that may be absent is not one that may be null."""
    content = body["content"]["application/json"]
    if "oneOf" in content["schema"]:
        content["schema"] = content["schema"]["oneOf"][0]
        body["required"] = False


def _response(status: int, codes: list[str]) -> dict[str, Any]:
    own = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    examples = {code: {"value": msgspec.json.decode(problem(code).to_json())} for code in codes}
    response: dict[str, Any] = {
        "description": ", ".join(PROBLEMS[code][1] for code in codes),
        "content": {
            MEDIA_TYPE: {
                "schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, own]},
                "examples": examples,
            }
        },
    }
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]
    return response


def _links(operation: str) -> dict[str, Any]:
    """From an answer to the calls that its ids are for."""
    if operation in ("start", "renew"):
        return {name: _link(name, "request_id", "$response.body#/id") for name in _OF_REQUEST}
    if operation == "verify":
        token = {"Delivery-Token": "$response.body#/delivery_token"}
        links = {name: _link(name, "request_id", "$response.body#/request/id") for name in _OF_DELIVERY}
        for name in ("password", "keystore"):
            links[name]["parameters"] |= token
        return links
    if operation == "listStores":
        return {
            name: _link(name, "store_id", "$response.body#/items/0/id")
            for name in ("showStore", "deactivate", "renew")
        }
    return {}


def _link(operation: str, parameter: str, value: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": {parameter: value}}


def _operation_id(handler: HTTPRouteHandler, _method: Method, _path: list[str | Any]) -> str:
    first, *rest = handler.handler_name.split("_")
    return first + "".join(word.capitalize() for word in rest)
