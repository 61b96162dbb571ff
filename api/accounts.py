"""The system users: one a process, so that the kernel keeps one process from another's secrets.

``scripts/setup.sh`` creates them; nothing here changes the machine.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.mounts import UsersMissing, closed_folders, open_the_way

GROUP: Final = "mycert"
REGISTRY_GROUP: Final = "mycert-registry"

USERS: Final[Mapping[str, str]] = {
    "web": "mycert-web",
    "issuer": "mycert-issuer",
    "publisher": "mycert-publisher",
    "status": "mycert-status",
    "mailer": "mycert-mailer",
    "idp": "mycert-demo",
    "mailbox": "mycert-demo",
}
REGISTRY_WRITERS: Final = frozenset({"mycert-issuer", "mycert-publisher", "mycert-mailer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def find_accounts() -> dict[str, Account]:
    """Every process's account; raises :class:`UsersMissing` unless root, with all users present."""
    if os.geteuid() != 0:
        raise UsersMissing("not started as root")
    accounts = {}
    for process, name in USERS.items():
        try:
            user = pwd.getpwnam(name)
            wanted = {grp.getgrnam(group).gr_gid for group in _groups(name)}
        except KeyError:
            raise UsersMissing(f"the system user {name} or its groups do not exist") from None
        groups = set(os.getgrouplist(name, user.pw_gid))
        if user.pw_uid == 0 or not wanted <= groups:
            raise UsersMissing(f"the system user {name} is not in its groups")
        accounts[process] = Account(name=name, uid=user.pw_uid, gid=user.pw_gid, groups=tuple(sorted(groups)))
    return accounts


def own_account(process: str) -> Account | None:
    """The account a process should run as, whoever asks; None where it does not exist."""
    try:
        user = pwd.getpwnam(USERS[process])
    except KeyError:
        return None
    return Account(name=user.pw_name, uid=user.pw_uid, gid=user.pw_gid, groups=())


def _groups(name: str) -> Sequence[str]:
    return (GROUP, REGISTRY_GROUP) if name in REGISTRY_WRITERS else (GROUP,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Who the processes run as: an account each, or none and why."""

    accounts: Mapping[str, Account]
    missing: str | None = None


def settle_users(home: Path, *, needs: Sequence[Path] = ()) -> Users:
    """Decide, once and at the start, whether processes get users of their own, and let those reach the code.

    ``needs`` are further paths that processes read: a configuration file, a PKCS#11 module. What decides is
    a real start of the interpreter as one of the users. Never raises: what is missing is reported.
    """
    try:
        accounts = find_accounts()
        code = [Path(entry) for entry in (*sys.path, sys.prefix, sys.base_prefix, sys.executable) if entry]
        closed = closed_folders([path for path in (home, *code, *needs) if path.exists()])
        if home.resolve() in closed:
            raise UsersMissing(f"{home} may not be passed by others")

        def check() -> None:
            _start_as(accounts["web"], home)

        if closed:
            open_the_way(closed, check)
        else:
            check()
    except (UsersMissing, OSError) as error:
        return Users(accounts={}, missing=str(error))
    return Users(accounts=accounts)


def _start_as(account: Account, home: Path) -> None:
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        (sys.executable, "-c", "import msgspec, api.accounts"),
        user=account.uid,
        group=account.gid,
        extra_groups=account.groups,
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        cause = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UsersMissing(f"{account.name} cannot start the code: {cause[0][:200]}")
