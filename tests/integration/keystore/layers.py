"""The layers of a worker's confinement, each to be put on alone."""

from __future__ import annotations

import resource
import signal

from issuer.issuance.keystore import landlock, seccomp
from issuer.issuance.keystore.kernel import PR_SET_NO_NEW_PRIVS, prctl


def nothing() -> None:
    pass


def only_landlock() -> None:
    assert landlock.deny_all() == {"landlock-files", "landlock-network", "landlock-scope"}


def only_seccomp() -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    seccomp.allow_only_listed()


def only_limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (256 * 2**20, 256 * 2**20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def only_deadline() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.2)
