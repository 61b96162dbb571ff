"""One JSON line an event on standard error, with nothing in it that opens anything.

Everything, uvicorn's and SQLAlchemy's records included, passes the same rendering. Masking by field name and
by shape is the second line of defence; the first is that nobody logs bodies, headers or queries at all.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import date, datetime
from pathlib import PurePath
from time import perf_counter
from typing import Any, TextIO, cast
from uuid import UUID

import msgspec
import structlog
from litestar.types import ASGIApp, Message, Receive, Send

from issuer.clock import Clock, RandomBytes, system_clock, system_random

OURS = ("api", "issuer", "hsm", "policies")
"""Only these loggers follow the configured level. Libraries say more at INFO and DEBUG than may be written
(SQLAlchemy its parameters, httpx addresses with queries, httpcore headers), so they stay at WARNING."""

_SECRET_NAME = re.compile(
    r"(^|[_-])(passwords?|passwd|passphrase|pins?|tokens?|secrets?|codes?|authorization|cookies?|assertion|jwt"
    r"|body|params|parameters|query|headers|seed|keystore|pkcs12|p12|private[_-]?key|email|recipients?)$",
    re.IGNORECASE,
)
_SECRET_SHAPE = re.compile(
    r"eyJ[\w-]{6,}\.[\w-]*\.[\w-]*|\bBearer\s+\S+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",
    re.IGNORECASE | re.DOTALL,
)
_MASK = "***"
_LONGEST = 2000
_REQUEST_ID = re.compile(rb"[A-Za-z0-9-]{8,64}")
_DEEPEST = 4


def configure(
    process: str, *, level: str = "INFO", stream: TextIO | None = None, clock: Clock = system_clock
) -> None:
    """Route structlog and the standard library's logging into one writer; called once, at start."""
    writer = structlog.WriteLogger(cast("TextIO", _Lossy(stream or sys.stderr)))
    lines = _Lines(process, clock)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            lines.render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [_Forward(writer, lines)]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(threshold)


class _Lossy:
    """A full disk, or a reader that went away, costs lines, never the work or the thread that wrote them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def get_logger() -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


class _Lines:
    """Renders an event; the last processor of structlog, and the formatter of every other record."""

    def __init__(self, process: str, clock: Clock) -> None:
        self._process = process
        self._clock = clock

    def render(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        error = event.pop("exc_info", None)
        if error is True:
            error = sys.exc_info()[1]
        line: dict[str, Any] = {
            "timestamp": self._clock().isoformat(timespec="milliseconds"),
            "level": event.pop("level", "info"),
            "process": self._process,
            "event": _value(event.pop("event", ""), 0),
        }
        line.update((name, _field(name, value, 0)) for name, value in event.items())
        if error:
            line["exception"] = describe_exception(error)
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


class _Forward(logging.Handler):
    def __init__(self, writer: structlog.WriteLogger, lines: _Lines) -> None:
        super().__init__()
        self._writer = writer
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        event = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
        event |= structlog.contextvars.get_contextvars()
        error = record.exc_info[1] if record.exc_info else None
        self._writer.msg(self._lines.render(None, "", event | {"exc_info": error}))


def _field(name: str, value: Any, depth: int) -> Any:
    return _MASK if _SECRET_NAME.search(name) and value is not None else _value(value, depth)


def _value(value: Any, depth: int) -> Any:
    """What may stand in a line. Of an object we do not know only its class: its repr may hold anything."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, enum.Enum):
        return _value(value.value, depth)
    if isinstance(value, str):
        return _SECRET_SHAPE.sub(_MASK, value)[:_LONGEST]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {_message(value)}"
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {str(name): _field(str(name), entry, depth + 1) for name, entry in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_value(entry, depth + 1) for entry in value]
    if isinstance(value, datetime | date | UUID | PurePath):
        return str(value)
    return f"<{type(value).__name__}>"


def describe_exception(error: BaseException | None) -> list[dict[str, Any]]:
    """Type, message and frames of an exception and of its causes, outermost first; never local variables."""
    chain: list[dict[str, Any]] = []
    while error is not None and len(chain) < 10:
        frames = traceback.extract_tb(error.__traceback__)[-20:]
        chain.append(
            {
                "type": f"{type(error).__module__}.{type(error).__qualname__}",
                "message": _message(error),
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        if isinstance(error, BaseExceptionGroup):
            chain.extend(entry for inner in error.exceptions[:5] for entry in describe_exception(inner))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return chain


def _message(error: BaseException) -> str:
    """The exception's text, unless its text quotes input: msgspec's values, SQLAlchemy's parameters."""
    if isinstance(error, msgspec.MsgspecError):
        _, found, path = str(error).rpartition(" - at `$")
        return f"input refused at ${path.rstrip('`')}" if found else "input refused"
    if hasattr(error, "hide_parameters"):  # sqlalchemy.exc.StatementError
        error = getattr(error, "orig", None) or Exception("statement failed")
    diagnosis = getattr(error, "diag", None)  # psycopg: its DETAIL line quotes the row
    text = getattr(diagnosis, "message_primary", None) or str(error)
    return str(_value(text, 0))[:500]


class AccessLog:
    """ASGI middleware: one line a request (method, route, status, milliseconds) and the request's id.

    A caller's ``X-Request-Id`` is kept where it is well-formed, so that one id follows a request from web to
    issuer. The id is bound for every line written meanwhile and handed back in the answer.
    """

    def __init__(self, app: ASGIApp, *, random: RandomBytes = system_random) -> None:
        self._app = app
        self._random = random
        self._log = get_logger()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        started = perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                # A path that names nothing of ours may be anything, an address or a token gone astray.
                path = scope.get("path_template") or (scope["path"] if status < 400 else "-")
                self._log.info(
                    "request",
                    method=scope["method"],
                    path=path[:200],
                    status=status,
                    ms=round((perf_counter() - started) * 1000, 1),
                )

    def _request_id(self, scope: Any) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                return str(value.decode())
        return self._random(8).hex()
