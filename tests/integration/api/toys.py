"""Small processes for the tests of serving and supervising: ``-m tests.integration.api.toys NAME …``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from api import logs, walls
from api.accounts import settle_users
from api.addresses import TcpAddress, UnixAddress
from api.processes import Patience, Process, Readiness, Supervisor
from api.sockets import Limits, Listener, run

LIMITS = Limits(head_bytes=4096, body_bytes=8192, request_seconds=60, connections=8, requests=2)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    path = scope["path"]
    if path == "/slow":
        say("begun")
        await asyncio.sleep(1)
    elif path == "/held":
        say("begun")
        await asyncio.to_thread(os.read, sys.stdin.fileno(), 1)
    elif path == "/never":
        say("begun")
        await asyncio.sleep(600)
    elif path == "/broken":
        raise RuntimeError("CANARY-inside")
    elif path == "/half":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        raise RuntimeError("CANARY-inside")
    elif path == "/early":
        await answer(send, 200, b"")
        return
    elif path == "/large":
        await answer(send, 200, b"x" * (64 << 20))
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await answer(send, 200, f"{os.getuid()} {len(body)}".encode())


def serve(port: str, path: str, peers: str, grace: str, request_seconds: str) -> None:
    """Serve the toy on TCP and on a Unix socket, and write to standard output when each moment comes."""
    limits = replace(LIMITS, request_seconds=float(request_seconds))
    logs.configure("toy", level="DEBUG")

    async def started() -> None:
        say("started")

    async def stopped() -> None:
        say("stopped")

    uids = frozenset(int(uid) for uid in peers.split(",") if uid)
    addresses = (TcpAddress(host="127.0.0.1", port=int(port)), UnixAddress(path=Path(path), peers=uids))
    listeners = [Listener(app=application, address=address, limits=limits) for address in addresses]
    run(listeners, on_start=started, on_stop=stopped, grace=float(grace))


def child(name: str, journal: str, socket: str = "", kind: str = "") -> None:
    """A supervised process: notes its beginning and its end, and answers on its socket where it has one."""
    stubborn, slow = kind == "stubborn", kind == "slow"
    standing = walls.enter(name)
    logs.configure(name)
    logs.get_logger().info("walls", **standing)
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(journal, "begins", name)
    if stubborn:
        while True:
            time.sleep(60)
    if socket:
        address = UnixAddress(path=Path(socket), peers=frozenset({os.getuid()}))
        run([Listener(app=application, address=address)])
        note(journal, "ends", name)
        return

    def end(*_: object) -> None:
        if slow:
            time.sleep(0.5)
        note(journal, "ends", name)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        signal.pause()


def note(journal: str, what: str, name: str) -> None:
    facts = {
        "what": what,
        "name": name,
        "pid": os.getpid(),
        "uid": os.getuid(),
        "gids": sorted(os.getgroups()),
    }
    facts |= {"session": os.getsid(0), "group": os.getpgid(0), "umask": Path("/proc/self/status").read_text()}
    facts["umask"] = next(line.split()[1] for line in facts["umask"].splitlines() if line.startswith("Umask"))
    with Path(journal).open("a") as file:
        file.write(json.dumps(facts) + "\n")


def supervise(home: str, journal: str, *children: str) -> None:
    """Supervise toys; each is NAME, or NAME+(stubborn|slow|socket|dies|mute|user). The issuer ends last."""
    logs.configure("serve")
    base = Path(home)
    users = settle_users(base) if any(entry.endswith("+user") for entry in children) else None

    def spec(entry: str) -> Process:
        name, _, kind = entry.partition("+")
        toy = (sys.executable, "-m", "tests.integration.api.toys")
        socket = base / f"{name}.sock"
        ready = Readiness(address=UnixAddress(path=socket, peers=frozenset()), path="/")
        if kind == "user":
            account = users.accounts.get(name) if users else None
            return Process(name=name, argv=(*toy, "child", name, journal), account=account)
        if kind == "dies":
            return Process(name=name, argv=(sys.executable, "-c", "raise SystemExit('reason')"), ready=ready)
        if kind == "socket":
            argv = (*toy, "child", name, journal, str(socket))
            return Process(name=name, argv=argv, ready=ready, ends=1 if name == "issuer" else 0)
        if kind == "mute":
            return Process(name=name, argv=(*toy, "child", name, journal), ready=ready)
        return Process(
            name=name, argv=(*toy, "child", name, journal, "", kind), ends=1 if name == "issuer" else 0
        )

    # Long where it is not what the test is about: on a busy machine a Python takes seconds to come up.
    kinds = {entry.partition("+")[2] for entry in children}
    patience = Patience(
        start=5 if "mute" in kinds else 60,
        next_stop=1 if "stubborn" in kinds else 30,
        stop=float(os.environ.get("TOYS_STOP", "4" if "stubborn" in kinds else "60")),
        same=30 if "slow" in kinds else 0.4,
        first_restart=0.1,
        longest_restart=0.4,
        previous_run=60,
    )
    Supervisor(
        processes=[spec(entry) for entry in children],
        home=base,
        lock=base / "serve.lock",
        log_path=lambda name: base / f"{name}.log",
        say_aloud=say,
        on_ready=lambda: say("ready"),
        users_missing=users.missing if users else None,
        patience=patience,
    ).run()


if __name__ == "__main__":
    {"serve": serve, "child": child, "supervise": supervise}[sys.argv[1]](*sys.argv[2:])
