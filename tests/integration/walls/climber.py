"""What somebody would try who has taken over web or status.

Runs the process's own ``main``, with everything that it opens, up to the moment at which it would serve;
then the attacks instead. Prints ``{attack: outcome}``; an outcome is ``done``, or why not. The order, JSON as
the second argument, brings what an attacker may have learned elsewhere, the right PIN included.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import msgspec
import sqlalchemy as sa

from api import settings as configuration
from api.layout import Layout
from api.settings import Settings
from api.socket_pass import ShowPass

PTRACE_SEIZE = 0x4206
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.process_vm_readv.restype = ctypes.c_ssize_t

UN_REVOKE = (
    "DELETE FROM revocations",
    "UPDATE revocations SET reason = 'unspecified'",
    "DROP TRIGGER revocations_no_delete",
    "TRUNCATE revocations",
    "ALTER TABLE revocations DISABLE TRIGGER ALL",
)
WRITE = (
    "UPDATE stores SET status = 'active', reason = NULL",
    "DELETE FROM stores",
    "INSERT INTO crls (authority, number, this_update, next_update, entries, covers)"
    " VALUES ('issuing', 999999, '2027-01-01', '2027-01-02', 0, 0)",
    "DELETE FROM audit_events",
    "CREATE TABLE planted (a INTEGER)",
)


class _Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Climber:
    def __init__(self, process: str, settings: Settings, order: dict[str, Any]) -> None:
        self.process, self.settings, self.order = process, settings, order
        self.layout = Layout(settings.home_path)

    def attacks(self) -> dict[str, Callable[[], None]]:
        layout, pids = self.layout, self.order["pids"]
        attacks: dict[str, Callable[[], None]] = {
            f"read {path.name}": lambda path=path: _read(path)  # type: ignore[misc]
            for path in (*map(layout.pin, ("root", "issuing", "status")), layout.key("idp"))
        }
        attacks |= {
            "list the secrets": lambda: _listed(layout.secrets),
            "list the tokens": lambda: _listed(layout.tokens),
            "log in to issuing": lambda: self._log_in("issuing"),
            "log in to status": lambda: self._log_in("status"),
            "write the registry's tables": lambda: self._change(WRITE),
            "un-revoke": lambda: self._change(UN_REVOKE),
            "connect as the issuer": self._be_issuer,
            "read the sealed deliveries": self._read_deliveries,
            "rewrite the code": lambda: _rewrite(Path(configuration.__file__)),
            "forge the issuer's log": lambda: _rewrite(layout.log("issuer")),
            "run a program": lambda: _run("/bin/true"),
            "officers' socket": lambda: self._ask("issuer-officer", "/revocations", REVOCATION),
            "issuer-publisher socket": lambda: self._ask("issuer-publisher", "/crls/issuing", None),
        }
        other = "publisher" if self.process == "web" else "issuer-web"
        path = "/ocsp" if self.process == "web" else "/orders/x/abandonment"
        attacks[f"{other} socket"] = lambda: self._ask(other, path, None)
        if self.process == "status":
            attacks["read the codes' key"] = lambda: _read(layout.key("code"))
            attacks["read the journey"] = lambda: _read(layout.journey_db)
        for victim in ("issuer", "publisher", "mailer", "supervisor"):
            attacks |= {
                f"memory file of {victim}": lambda pid=pids[victim]: _read(Path(f"/proc/{pid}/mem")),  # type: ignore[misc]
                f"memory call on {victim}": lambda pid=pids[victim]: _read_memory(pid),  # type: ignore[misc]
                f"trace {victim}": lambda pid=pids[victim]: _trace(pid),  # type: ignore[misc]
                f"signal {victim}": lambda pid=pids[victim]: os.kill(pid, 0),  # type: ignore[misc]
            }
        # What it needs and has: where these fail, the others' failing says nothing.
        own = "issuer-web" if self.process == "web" else "publisher"
        attacks["own: its socket"] = lambda: self._ask(own, "/health/ready", None, method="GET")
        attacks["own: reads the registry"] = self._select
        return attacks

    def _log_in(self, token: str) -> None:
        from hsm.secret import Secret
        from hsm.token import Token

        config = getattr(self.settings.hsm, token)
        # Its own lock file, so that it is the token that refuses, and not the file beside it.
        config = msgspec.structs.replace(config, lock_file="/dev/null")
        Token.open(config, Secret(self.order["pins"][token].encode())).close()

    def _change(self, statements: tuple[str, ...]) -> None:
        """As its own URL, and past it: it is enough that one of them succeeds."""
        url = sa.make_url(self.settings.database.registry)
        failures = []
        for statement in statements:
            try:
                if url.get_backend_name() == "sqlite":
                    with sqlite3.connect(str(url.database), timeout=1) as connection:
                        connection.execute(statement)
                        connection.rollback()
                else:
                    engine = sa.create_engine(url, connect_args={"options": "-csearch_path=registry"})
                    with engine.connect() as made:
                        made.execute(sa.text(statement))
            except (sqlite3.Error, sa.exc.SQLAlchemyError) as error:
                failures.append(str(error).splitlines()[0])
            else:
                return
        if url.get_backend_name() == "sqlite":
            database = Path(str(url.database))
            for step in (
                lambda: _rewrite(database),
                lambda: _rewrite(database.with_name(database.name + "-wal")),
                lambda: database.with_name(database.name + "-journal").touch(),
                lambda: database.rename(database.with_name("other.db")),
            ):
                try:
                    step()
                except OSError as error:
                    failures.append(str(error))
                else:
                    return
        raise PermissionError("; ".join(failures))

    def _be_issuer(self) -> None:
        url = sa.make_url(self.settings.database.registry)
        if url.get_backend_name() == "sqlite":
            raise PermissionError("no roles in SQLite")
        query = dict(url.query)
        if "passfile" in query:
            query["passfile"] = str(query["passfile"]).replace(self.process, "issuer")
        with sa.create_engine(url.set(username="mycert_issuer", query=query)).connect():
            pass

    def _read_deliveries(self) -> None:
        self._query("SELECT sealed_password, sealed_keystore FROM deliveries")

    def _select(self) -> None:
        self._query("SELECT serial, sequence FROM revocations" if self.process == "status" else
                    "SELECT id FROM stores")  # fmt: skip

    def _query(self, query: str) -> None:
        from issuer.registry.database import Database

        database = Database(self.settings.database.registry, channel="registry", read_only=True)
        with database.read() as connection:
            connection.execute(sa.text(query)).all()

    def _ask(self, name: str, path: str, message: dict[str, Any] | None, method: str = "POST") -> None:
        """With the pass where it can be read, and without; any answer of the application is ``done``."""
        socket = self.layout.socket(name)
        transport = httpx.HTTPTransport(uds=str(socket))
        outcomes = []
        for auth in (ShowPass(socket), None):
            with httpx.Client(transport=transport, base_url="http://x", auth=auth, trust_env=False) as client:
                try:
                    answer = client.request(method, path, json=message)
                except httpx.HTTPError as error:
                    outcomes.append(f"{type(error).__name__}: {error}")
                    continue
            if answer.status_code != 503:
                return
            outcomes.append(answer.text)
        raise PermissionError("; ".join(outcomes))


REVOCATION = {"store_ids": ["x"], "reason": "incident", "officer": "nobody", "dry_run": True}


def _read(path: Path) -> None:
    with path.open("rb") as file:
        if not str(path).endswith("mem"):
            file.read(1)


def _listed(path: Path) -> None:
    os.listdir(path)


def _rewrite(path: Path) -> None:
    with path.open("r+b"):
        pass


def _run(program: str) -> None:
    subprocess.run([program], check=True)


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _trace(pid: int) -> None:
    """Seizing stops nothing, and ends with this process."""
    _checked(_libc.ptrace(ctypes.c_long(PTRACE_SEIZE), ctypes.c_long(pid), None, None))


def _read_memory(pid: int) -> None:
    """Where the address is not mapped there, the door was open all the same."""
    buffer = ctypes.create_string_buffer(8)
    span, one = _Span(ctypes.addressof(buffer), 8), ctypes.c_ulong(1)
    result = _libc.process_vm_readv(pid, ctypes.byref(span), one, ctypes.byref(span), one, ctypes.c_ulong(0))
    if result < 0 and ctypes.get_errno() == 1:
        raise PermissionError("process_vm_readv")


def attempt(attack: Callable[[], None]) -> str:
    try:
        attack()
    except Exception as error:  # noqa: BLE001 - each is a wall that held
        return f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
    return "done"


def main() -> None:
    process, order = sys.argv[1], json.loads(sys.argv[2])
    module = importlib.import_module(f"api.start.{process}")
    settings = configuration.load(process=process)
    # What is replaced must be there: otherwise it would be called where it has moved to.
    with ExitStack() as stack:
        if order.get("without_landlock"):
            stack.enter_context(patch("api.start.beginning.reach_of", lambda *_: None))
        stack.enter_context(patch.object(module, "run", lambda *_, **__: None))
        module.main(settings)
    climber = Climber(process, settings, order)
    sys.stdout.write(json.dumps({name: attempt(attack) for name, attack in climber.attacks().items()}) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
