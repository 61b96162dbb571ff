"""What each process may still reach of the file system once Landlock holds it: its own folders, and the code.

Meant for a start without root, where all processes are one user's and file modes keep none from another's
secrets; it holds beside the users as well. What is not listed here does not exist for the process.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

from api.layout import Layout
from api.settings import Settings
from issuer.faults import FAULTS
from issuer.issuance.keystore import landlock

_OURS: Final = ("api", "issuer", "policies", "hsm")
_SYSTEM: Final = (
    *("/usr", "/lib", "/lib64"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/passwd", "/etc/group"),
    # Names of hosts. A file that is replaced later is another file: then the process needs a new start.
    *("/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/run/systemd/resolve"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates"),
    *("/dev/urandom", "/proc/self"),
)
_FILES_OF_URL: Final = ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl")
"""Parameters of a PostgreSQL URL that name files."""


class ReachRefused(Exception):
    """Confinement would be none; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Folders with all below them, and files. ``write`` includes reading; nothing may be executed."""

    home: Path
    read: tuple[Path, ...]
    write: tuple[Path, ...]

    def confine(self) -> frozenset[landlock.LandlockMeasure]:
        """Irrevocable. Raises ReachRefused, or OSError from the kernel."""
        code = [path.resolve() for path in _code() if path.exists()]
        for path in code:
            if self.home.resolve().is_relative_to(path):
                raise ReachRefused(f"{self.home} lies in {path}, which the interpreter reads")
        own = [path for path in self.read if path.exists()]
        written = [*self.write, Path("/dev/null")]
        return landlock.restrict_paths(read=[*code, *own], write=[path for path in written if path.exists()])


def reach_of(process: str, settings: Settings) -> Reach:
    """Of a process without a PIN: web, status, mailer, and the demo's idp and mailbox."""
    layout = Layout(settings.home_path)
    identity, mail = settings.identity, settings.mail
    smtp = _named(mail.ca_file, mail.password_file)
    read: list[Path] = [layout.config]
    write: list[Path] = []
    match process:
        case "web":
            read += _database(settings.database.registry)
            read += [layout.socket("issuer-web").parent, Path(settings.journey.code_key_file), *smtp]
            read += [*_named(identity.jwks_ca_file), *_replaceable(identity.jwks_file, layout.home)]
            if settings.portal is not None:
                read += _named(settings.portal.client_secret_file, settings.portal.ca_file)
            write += [*_database(settings.database.journey), *_named(os.environ.get(FAULTS))]
        case "status":
            read += [*_database(settings.database.registry), layout.pki, layout.socket("publisher").parent]
        case "mailer":
            read += smtp
            write += _database(settings.database.registry)
        case "idp":
            read += [layout.key("idp"), layout.idp_jwks.parent]
        case "mailbox":
            write += [layout.mailbox]
        case _:
            raise ValueError(f"{process} holds a PIN, or is no process")
    return Reach(home=layout.home, read=tuple(read), write=tuple(write))


def _code() -> Iterator[Path]:
    """Not whole entries of ``sys.path``: a checkout may hold the home, with every secret in it."""
    yield from map(Path, _SYSTEM)
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    for prefix in (sys.prefix, sys.base_prefix):
        yield Path(prefix, "lib")
    for name in _OURS:
        yield Path(__file__).parents[1] / name


def _database(url: str) -> list[Path]:
    """SQLite's folder, for the journal lies beside the file; of a PostgreSQL URL the files it names."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return [Path(parsed.database or "").parent]
    return [Path(str(parsed.query[name])) for name in _FILES_OF_URL if name in parsed.query]


def _replaceable(path: str | None, home: Path) -> list[Path]:
    """A file that is replaced while we run is another file, so its folder is named: unless all lies there."""
    if path is None:
        return []
    folder = Path(path).parent
    return [Path(path) if home.resolve().is_relative_to(folder.resolve()) else folder]


def _named(*paths: str | None) -> list[Path]:
    return [Path(path) for path in paths if path]
