"""The system users: one a process, so that the kernel keeps one process from another's secrets."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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


class AccountsMissing(Exception):
    """Processes cannot run as users of their own; the message says why, and is shown to the operator."""


def find_accounts() -> dict[str, Account]:
    """Every process's account. Raises :class:`AccountsMissing` unless started as root with all users present."""
    if os.geteuid() != 0:
        raise AccountsMissing("not started as root")
    accounts = {}
    for process, name in USERS.items():
        try:
            user = pwd.getpwnam(name)
            wanted = {grp.getgrnam(group).gr_gid for group in _groups(name)}
        except KeyError:
            raise AccountsMissing(f"the system user {name} or its groups do not exist") from None
        groups = set(os.getgrouplist(name, user.pw_gid))
        if user.pw_uid == 0 or not wanted <= groups:
            raise AccountsMissing(f"the system user {name} is not in its groups")
        accounts[process] = Account(name=name, uid=user.pw_uid, gid=user.pw_gid, groups=tuple(sorted(groups)))
    return accounts


def own_account(process: str) -> Account | None:
    """The account a process should run as, whoever asks; None where it does not exist."""
    try:
        user = pwd.getpwnam(USERS[process])
    except KeyError:
        return None
    return Account(name=user.pw_name, uid=user.pw_uid, gid=user.pw_gid, groups=())


def create_accounts() -> None:
    """Create what is missing of users and groups; needs root. Repeating it changes nothing."""
    for group in (GROUP, REGISTRY_GROUP):
        _run("groupadd", "--system", "--force", group)
    for name in dict.fromkeys(USERS.values()):
        groups = ",".join(_groups(name))
        try:
            pwd.getpwnam(name)
        except KeyError:
            shell = ("--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
            _run("useradd", "--system", "--no-create-home", "--user-group", *shell, "--groups", groups, name)
        else:
            _run("usermod", "--append", "--groups", groups, name)


def _groups(name: str) -> Sequence[str]:
    return (GROUP, REGISTRY_GROUP) if name in REGISTRY_WRITERS else (GROUP,)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AccountsMissing(f"{command[0]} failed: {done.stderr.strip()[:200]}")
