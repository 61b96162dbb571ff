"""The short way over real sockets: it says what the long way says, and leaves alone what is not plain."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest

from api.addresses import TcpAddress
from api.sockets import Limits, Listener, _Server
from api.status.shortcut import Shortcut
from issuer.publisher.ocsp_request import ERROR_ANSWERS
from tests.fixtures.pki import revoke
from tests.fixtures.status_service import Service, known

pytestmark = pytest.mark.anyio


class Taken:
    """The service's short way, and what it answered."""

    def __init__(self, shortcut: Shortcut) -> None:
        self._shortcut = shortcut
        self.short: list[bool] = []

    def __call__(self, data: bytes) -> bytes | None:
        answer = self._shortcut(data)
        self.short.append(answer is not None)
        return answer


@asynccontextmanager
async def listening(service: Service, limits: Limits | None = None) -> AsyncIterator[tuple[int, Taken]]:
    taken = Taken(service.app.shortcut)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
        entry = Listener(
            app=without_lifespan(service),
            address=TcpAddress(host="127.0.0.1", port=port),
            limits=limits or Limits(),
            access_log=False,
            shortcut=taken,
        )
        server = _Server(entry, 1)
        await server.startup([bound])
        await server.on_tick(0)
        ticking = asyncio.create_task(server.main_loop())
        try:
            yield port, taken
        finally:
            server.should_exit = True
            await ticking
            await server.shutdown()


def without_lifespan(service: Service) -> object:
    """The follower is driven by the test."""

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("none")
        await service.app(scope, receive, send)  # type: ignore[arg-type]

    return app


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()
            await asyncio.sleep(0.02)  # So that each arrives by itself.

    async def answer(self, *, body: bool = True) -> tuple[dict[str, str], bytes]:
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 60)).decode()
        first, *lines = head.strip().split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        fields["status"] = first
        size = int(fields.get("content-length", 0)) if body else 0
        return fields, await self._reader.readexactly(size)

    async def ask(self, *parts: bytes) -> tuple[dict[str, str], bytes]:
        await self.send(*parts)
        return await self.answer()

    async def ended(self) -> bool:
        return await asyncio.wait_for(self._reader.read(1), 60) == b""

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def post(der: bytes, *fields: bytes) -> bytes:
    lines = [b"POST /pki/ocsp HTTP/1.1", b"Host: status", *fields, b"Content-Length: %d" % len(der)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + der


def get(der: bytes, *fields: bytes) -> bytes:
    path = quote(base64.b64encode(der), safe="").encode()
    return b"\r\n".join([b"GET /pki/ocsp/%s HTTP/1.1" % path, b"Host: status", *fields]) + b"\r\n\r\n"


async def test_it_says_what_the_long_way_says(service: Service) -> None:
    good, revoked = known(service, 1, 2)
    revoke(service.site.database, 2, service.site.clock())
    service.publish()
    async with listening(service) as (port, taken):
        client = await Client.connect(port)
        for request in (get(good), post(good), get(revoked), post(revoked)):
            taken.short.clear()
            first, second, third = [await client.ask(request) for _ in range(3)]
            assert taken.short == [False, True, True]
            assert second[1] == third[1] == first[1]
            assert {**second[0], "date": ""} == {**first[0], "date": ""}
        await client.close()


async def test_a_revocation_counts_at_once(service: Service) -> None:
    (der,) = known(service, 1)
    async with listening(service) as (port, taken):
        client = await Client.connect(port)
        before = [await client.ask(post(der)) for _ in range(2)][1]
        assert taken.short[-1]
        revoke(service.site.database, 1, service.site.clock())
        service.follow()
        service.live.away = True
        assert (await client.ask(post(der)))[1] == ERROR_ANSWERS["tryLater"]
        service.publish()
        assert (await client.ask(post(der)))[1] != before[1]
        assert taken.short[-1]
        service.site.clock.pass_(seconds=11)  # Nobody has looked at the registry meanwhile.
        assert (await client.ask(post(der)))[1] == ERROR_ANSWERS["tryLater"]
        await client.close()


@pytest.mark.parametrize(
    "fields",
    [
        [b"If-None-Match: *"],
        [b"If-Modified-Since: Sun, 06 Nov 2044 08:49:37 GMT"],
        [b"Connection: close"],
        [b"Range: bytes=0-1"],
        [b"Accept: a\r\n b"],
        [b"X-Whatever: 1"],
        [b"Accept: \xe9"],
    ],
    ids=lambda fields: fields[0].decode("latin-1"),
)
async def test_whatever_asks_for_more_goes_the_long_way(
    service: Service,
    fields: list[bytes],
) -> None:
    (der,) = known(service, 1)
    async with listening(service) as (port, taken):
        client = await Client.connect(port)
        for _ in range(2):
            await client.ask(get(der))
        assert taken.short[-1]
        fields_of, body = await client.ask(get(der, *fields))
        assert not taken.short[-1]
        if fields[0].startswith(b"If-"):
            assert fields_of["status"].split()[1] == "304"
            assert body == b""
        if fields == [b"Connection: close"]:
            assert await client.ended()
        await client.close()


async def test_other_shapes_go_the_long_way(service: Service) -> None:
    (der,) = known(service, 1)
    async with listening(service) as (port, taken):
        client = await Client.connect(port)
        plain = [await client.ask(request) for request in (get(der), get(der), post(der), post(der))]
        expected = plain[0][1]
        for parts in (
            [get(der)[:30], get(der)[30:]],
            [post(der)[:-5], post(der)[-5:]],
            [get(der) + get(der)[:10], get(der)[10:]],
            [get(der).replace(b"/pki", b"http://status/pki", 1)],
            [
                post(der)
                .replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX-Was")
                .replace(der, b"%x\r\n%s\r\n0\r\n\r\n" % (len(der), der))
            ],
        ):
            taken.short.clear()
            await client.send(*parts)
            assert (await client.answer())[1] == expected
            if b"GET" in parts[0][1:]:
                assert (await client.answer())[1] == expected
            assert not any(taken.short)
        await client.send(get(der).replace(b"GET", b"HEAD", 1))
        assert (await client.answer(body=False))[0]["content-length"] == str(len(expected))
        old = get(der).replace(b"HTTP/1.1", b"HTTP/1.0")
        assert (await client.ask(old))[1] == expected
        assert await client.ended()
        await client.close()


@pytest.mark.parametrize(
    "damage",
    [
        (b"Content-Length: ", b"Content-Length: 5\r\nContent-Length: "),
        (b"Content-Length: ", b"Content-Length: +"),
        (b"Host: status\r\n", b"Host: status\n"),
        (b"Host: status", b"Host: a\0b"),
    ],
    ids=["two lengths", "a sign", "a bare line feed", "a zero octet"],
)
def test_ambiguous_fields_are_never_known(damage: tuple[bytes, bytes]) -> None:
    class Nothing:
        vouches = True

        def known_request(self, _: bytes) -> None:
            raise AssertionError("it was looked up")

    request = post(b"0123456789").replace(*damage)
    assert Shortcut(Nothing(), lambda: None)(request) is None  # type: ignore[arg-type]


async def test_who_says_no_more_is_let_go(service: Service) -> None:
    (der,) = known(service, 1)
    async with listening(service, Limits(keep_alive_seconds=2)) as (port, taken):
        client = await Client.connect(port)
        for _ in range(2):
            await client.ask(get(der))
        assert taken.short == [False, True]
        assert await client.ended()
        await client.close()


async def test_fields_are_forgotten_before_they_fill_the_memory(service: Service) -> None:
    (der,) = known(service, 1)
    shortcut = service.app.shortcut
    for number in range(3_000):
        shortcut(get(der, b"User-Agent: %d" % number))
        shortcut(get(der, b"User-Agent: %s%d" % (b"x" * 3_000, number)))
    assert len(shortcut._body_lengths) <= 1_024
    assert all(len(fields) <= 2_048 for fields in shortcut._body_lengths)
