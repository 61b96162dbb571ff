"""Where everything of one installation lies below ``$MYCERT_HOME``, whose it is, and who else may look.

The table in :meth:`Layout._places` is the whole rule. Where processes have users of their own it keeps each
to its files; started by an ordinary user, all belong to that user and nobody else may pass the folders.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from api.accounts import GROUP, REGISTRY_GROUP, USERS, own_account
from api.addresses import UnixAddress
from api.socket_pass import pass_beside

SOCKETS: Final[Mapping[str, tuple[str, str | None]]] = {
    "issuer-web": ("issuer", "web"),
    "issuer-publisher": ("issuer", "publisher"),
    "issuer-officer": ("issuer", None),
    "publisher": ("publisher", "status"),
}
"""Socket: the process that serves it and the one that may connect; None for officers, who are root."""

PIN_OWNERS: Final[Mapping[str, str | None]] = {"issuing": "issuer", "status": "publisher", "root": None}
"""Token: the process that knows its PIN. No process knows the root's."""

KEY_OWNERS: Final[Mapping[str, str]] = {"code": "web", "idp": "idp"}


class _Place(NamedTuple):
    path: Path
    user: str
    group: str
    mode: int
    content: int | None = None
    """Mode of the plain files inside, which get the same owner; None leaves them alone."""


class Layout:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "mycert.toml"
        self.softhsm_conf = home / "softhsm2.conf"
        self.secrets = home / "secrets"
        self.tokens = home / "tokens"
        self.pki = home / "pki"
        self.registry_db = home / "data" / "registry" / "registry.db"
        self.journey_db = home / "data" / "journey" / "journey.db"
        self.mailbox = home / "mailbox"
        self.idp_jwks = home / "idp" / "jwks.json"
        self.logs = home / "log"
        self.serve_lock = home / "run" / "serve.lock"

    def pin(self, token: str) -> Path:
        return self.secrets / f"{token}.pin"

    def key(self, name: str) -> Path:
        """Keys outside any token: "code" (the codes' HMAC key), "idp" (the demo's identity provider)."""
        return self.secrets / f"{name}.key"

    def certificate(self, name: str) -> x509.Certificate:
        """A CA's or the OCSP signer's, as the ceremony left it. Raises OSError or ValueError."""
        return x509.load_der_x509_certificate((self.pki / f"{name}.cer").read_bytes())

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def token_lock(self, token: str) -> Path:
        """The lock file around a token's logins."""
        return self.home / "run" / "locks" / f"{token}.lock"

    def socket(self, name: str) -> Path:
        return self.home / "run" / name / "sock"

    def address(self, name: str) -> UnixAddress:
        """For the process that serves it: the path, and the user ids that may connect."""
        server, client = SOCKETS[name]
        own, peers = own_account(server), frozenset({os.geteuid()})
        if own is not None and own.uid == os.geteuid():
            peer = own_account(client) if client else None
            peers = frozenset({peer.uid} if peer else ())
        path = self.socket(name)
        return UnixAddress(path=path, peers=peers, pass_file=pass_beside(path))

    def create(self) -> None:
        """Make the folders and the files that must exist before their first writer; keeps what is there."""
        for place in self._places():
            if not place.path.suffix:
                place.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in (self.registry_db, *(self.token_lock(token) for token in PIN_OWNERS)):
            file.touch(mode=0o600)

    def apply_owners(self, token_labels: Mapping[str, str]) -> None:
        """Give everything to the users of the table. Needs root and the users; repeating it changes nothing.

        ``token_labels`` names each token's label ("issuing": "myCert issuing"), by which SoftHSM's folders
        are told apart. Call it again after anything that root wrote: a ceremony, a migration.
        """
        for place in (*self._places(), *self._token_places(token_labels)):
            with contextlib.suppress(FileNotFoundError):
                _give(place)

    def _places(self) -> Iterator[_Place]:
        user = USERS
        yield _Place(self.home, "root", "root", 0o755)
        yield _Place(self.config, "root", GROUP, 0o640)
        yield _Place(self.softhsm_conf, "root", GROUP, 0o640)
        yield _Place(self.secrets, "root", GROUP, 0o710)
        for token, process in PIN_OWNERS.items():
            owner = user[process] if process else "root"
            yield _Place(self.pin(token), owner, owner, 0o600)
        for key, process in KEY_OWNERS.items():
            yield _Place(self.key(key), user[process], user[process], 0o600)
        yield _Place(self.tokens, "root", GROUP, 0o750)
        yield _Place(self.pki, "root", "root", 0o755, 0o644)
        yield _Place(self.idp_jwks.parent, "root", "root", 0o755, 0o644)  # Public keys.
        yield _Place(self.home / "data", "root", GROUP, 0o750)
        # SQLite gives -wal and -shm the mode of the database, whatever the umask; the folder gives the group.
        # Readers (in group mycert alone) are the "others" here, and only data/ lets them come this far.
        yield _Place(self.registry_db.parent, user["issuer"], REGISTRY_GROUP, 0o2775, 0o664)
        yield _Place(self.journey_db.parent, user["web"], user["web"], 0o700, 0o600)
        yield _Place(self.home / "run", "root", GROUP, 0o750)
        yield _Place(self.home / "run" / "locks", "root", GROUP, 0o750)
        for token, process in PIN_OWNERS.items():
            owner = user[process] if process else "root"
            yield _Place(self.token_lock(token), owner, owner, 0o600)
        for name, (server, client) in SOCKETS.items():
            # The folder's group, which the socket inherits, is the client's: nobody else can even connect.
            yield _Place(self.socket(name).parent, user[server], user[client] if client else "root", 0o2750)
        yield _Place(self.logs, "root", "root", 0o750)
        yield _Place(self.mailbox, user["mailbox"], _starting_group() or user["mailbox"], 0o2750, 0o640)

    def _token_places(self, labels: Mapping[str, str]) -> Iterator[_Place]:
        for token_object in self.tokens.glob("*/token.object"):
            padded = token_object.read_bytes()
            for token, label in labels.items():
                if label.encode().ljust(32) in padded:
                    process = PIN_OWNERS[token]
                    owner = USERS[process] if process else "root"
                    yield _Place(token_object.parent, owner, owner, 0o700, 0o600)


def _starting_group() -> str | None:
    """Who started through sudo reads the demo's mails too."""
    try:
        return grp.getgrgid(int(os.environ["SUDO_GID"])).gr_name
    except (KeyError, ValueError):
        return None


def _give(place: _Place) -> None:
    """Through descriptors that follow no link: the folders' owners must not steer root to other files."""
    uid = pwd.getpwnam(place.user).pw_uid
    gid = grp.getgrnam(place.group).gr_gid
    with _opened(place.path) as folder:
        os.fchown(folder, uid, gid)
        os.fchmod(folder, place.mode)
        if place.content is None:
            return
        for name in os.listdir(folder):
            with contextlib.suppress(OSError), _opened(name, dir_fd=folder) as file:
                found = os.fstat(file)
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                    os.fchown(file, uid, gid)
                    os.fchmod(file, place.content)


@contextlib.contextmanager
def _opened(path: str | Path, dir_fd: int | None = None) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
