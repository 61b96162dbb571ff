"""The process every worker is forked from: freshly executed, warm, one thread, no secret.

Started by ``workshop`` with its control socket as standard input. It never sees an
order: a job's socket comes in by SCM_RIGHTS and goes straight to a new child. It ends
with its parent, or when the control socket closes.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import NoReturn, cast

from issuer.issuance.keystore.confinement import Limits, guard_template
from issuer.issuance.keystore.kernel import set_process_name
from issuer.issuance.keystore.messages import Begin, ChannelClosed, Ended, Failed, receive, send
from issuer.issuance.keystore.rehearsal import rehearse, rehearse_confined
from issuer.issuance.keystore.worker import WorkerLife, be_worker, serve

_FORBIDDEN = frozenset({"pkcs11", "hsm", "sqlalchemy", "litestar"})
_ATTACKS = "tests.integration.keystore.attacks"


def main() -> None:
    arguments = argparse.ArgumentParser(prog="mycert-template")
    arguments.add_argument("--parent", type=int, required=True)
    # Tests only: workers run the hostile jobs of that module, which no installed package contains.
    arguments.add_argument("--attacks", action="store_true")
    options = arguments.parse_args()
    guard_template(options.parent)
    set_process_name("mycert-templ")
    # Whoever stops the issuer may signal its whole group; jobs under way end with the
    # issuer's own drain, and the template when the issuer has closed the control socket.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    life = cast(WorkerLife, importlib.import_module(_ATTACKS).serve) if options.attacks else serve
    if loaded := _FORBIDDEN & sys.modules.keys():
        sys.exit(f"the keystore template must not load {', '.join(sorted(loaded))}")
    with socket.socket(fileno=0) as control:
        try:
            limits = receive(control, Begin).limits
            rehearse()
            # Workers share these pages; a collector that touches them would copy them.
            gc.disable()
            gc.freeze()
            if _rehearsed(control, limits):
                _fork_on_demand(control, limits, life)
        except ChannelClosed:
            return


def _rehearsed(control: socket.socket, limits: Limits) -> bool:
    """The confined child answers on the control socket itself: Ready, or Failed."""
    child = _fork(control, limits, rehearse_confined)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        send(
            control, Failed(kind=f"the confined rehearsal was ended by a signal: {signal.strsignal(-status)}")
        )
    return status == 0


def _fork_on_demand(control: socket.socket, limits: Limits, life: WorkerLife) -> NoReturn:
    """Raises ChannelClosed when the issuer is done."""
    children: dict[int, int] = {}  # pidfd: pid
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == control.fileno():
                with _job_socket(control) as channel:
                    child = _fork(channel, limits, life)
                pidfd = os.pidfd_open(child)
                children[pidfd] = child
                poll.register(pidfd, select.POLLIN)
            else:
                poll.unregister(descriptor)
                os.close(descriptor)
                pid, status = os.waitpid(children.pop(descriptor), 0)
                send(control, Ended(pid=pid, status=os.waitstatus_to_exitcode(status)))


def _job_socket(control: socket.socket) -> socket.socket:
    try:
        packet, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    except ConnectionResetError:
        raise ChannelClosed from None
    if not packet or not descriptors:
        raise ChannelClosed
    return socket.socket(fileno=descriptors[0])


def _fork(channel: socket.socket, limits: Limits, life: WorkerLife) -> int:
    template = os.getpid()
    child = os.fork()
    if child == 0:
        be_worker(channel, limits, template, life)
    return child


if __name__ == "__main__":
    main()
