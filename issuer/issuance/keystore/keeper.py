"""Keeps one template process alive for a workshop, and hands it the jobs' sockets.

One thread starts the template, listens to it and starts it anew when it dies. That it
is always the same thread matters: the kernel's parent-death signal fires when the
*thread* that started a process ends, which an issuance thread may do at any time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import site
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

import issuer
from issuer.issuance.keystore.confinement import Confinement, Limits
from issuer.issuance.keystore.errors import WorkshopError
from issuer.issuance.keystore.messages import Begin, ChannelClosed, Ended, PeerFailed, Ready, receive, send

_LOG = logging.getLogger(__name__)

_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_BACK_OFF = (0.0, 0.1, 0.5, 2.0, 5.0)  # seconds before the n-th restart without a stable minute between
_STABLE_SECONDS = 60.0


class TemplateKeeper:
    def __init__(self, limits: Limits, extra_arguments: tuple[str, ...] = ()) -> None:
        self._limits = limits
        self._extra_arguments = extra_arguments
        self._thread = threading.Thread(target=self._keep, name="keystore-template", daemon=True)
        self._changed = threading.Condition()  # guards what follows
        self._control: socket.socket | None = None  # set while a template runs
        self._pid: int | None = None  # set while one is ready
        self._confinement: Confinement | None = None
        self._refusal: WorkshopError | None = None
        self._closing = False

    def start(self) -> Confinement:
        """Raises WorkshopError if no template can be had at the first attempt; none is tried later then."""
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._confinement or self._refusal)
            if self._confinement is None:
                raise self._refusal or WorkshopError("the template did not start")
            return self._confinement

    @property
    def template_pid(self) -> int | None:
        return self._pid

    def check(self) -> None:
        """Raises WorkshopError where no template runs and another could not be started; not in between."""
        if (refusal := self._refusal) is not None:
            raise refusal

    def hand_over(self, job: socket.socket, deadline: float) -> None:
        """Give a job's socket to the template, or to the next one if this one is just dying.

        Raises WorkshopError if none takes it by the deadline, or if none can be started.
        """
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", job.fileno()))
        with self._changed:
            while True:
                self._changed.wait_for(
                    lambda: self._pid or self._refusal or self._closing, deadline - time.monotonic()
                )
                if self._control is None or self._pid is None:
                    raise WorkshopError(f"the keystore template is not running: {self._refusal or 'ended'}")
                try:
                    # Never wait with the lock held: a template whose queue is full is as good as dead.
                    self._control.sendmsg([b"j"], [rights], socket.MSG_DONTWAIT)
                except OSError:
                    self._pid = None
                    _hang_up(self._control)  # so that the keeper's thread ends it and starts another
                else:
                    return

    def close(self) -> None:
        with self._changed:
            self._closing = True
            if self._control is not None:
                _hang_up(self._control)
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        failures = 0
        while not self._closing:
            started = time.monotonic()
            self._run_one()
            if self._confinement is None:
                return
            failures = 0 if time.monotonic() - started > _STABLE_SECONDS else failures + 1
            with self._changed:
                pause = _BACK_OFF[min(failures, len(_BACK_OFF)) - 1] if failures else 0.0
                self._changed.wait_for(lambda: self._closing, pause)

    def _run_one(self) -> None:
        """One template from its start to its end."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process: subprocess.Popen[bytes] | None = None
        with control:
            try:
                with theirs:
                    process = _launch(theirs, self._extra_arguments)
                with self._changed:
                    self._control = control
                self._announce(control, process.pid)
                self._listen(control)
            except Exception as error:  # noqa: BLE001 - this thread alone can start another template
                _LOG.error("%s: %s", type(error).__name__, error)
                self._refusal = WorkshopError(str(error))
            finally:
                with self._changed:
                    self._control = self._pid = None
                    self._changed.notify_all()
        if process is not None:
            _end(process)

    def _announce(self, control: socket.socket, pid: int) -> None:
        control.settimeout(_START_SECONDS)
        try:
            send(control, Begin(limits=self._limits))
            confinement = receive(control, Ready).confinement
        except PeerFailed as error:
            raise WorkshopError(f"keystore workers cannot be confined: {error}") from None
        except (ChannelClosed, TimeoutError, msgspec.MsgspecError) as error:
            raise WorkshopError(f"the keystore template did not start: {type(error).__name__}") from None
        control.settimeout(None)
        with self._changed:
            self._pid, self._confinement, self._refusal = pid, confinement, None
            self._changed.notify_all()

    def _listen(self, control: socket.socket) -> None:
        while not self._closing:
            try:
                ended = receive(control, Ended)
            except ChannelClosed:
                break
            except msgspec.MsgspecError as error:
                raise WorkshopError(f"the keystore template talks nonsense: {error}") from None
            if ended.status < 0:
                # "Bad system call" is a forbidden system call: a library changed, or somebody is inside.
                name = signal.strsignal(-ended.status)
                _LOG.error("keystore worker %d was ended by a signal: %s", ended.pid, name)
        if not self._closing:
            _LOG.error("the keystore template ended; starting another")


def _launch(control: socket.socket, extra_arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Isolated from working directory, user site and environment, wherever the package lies."""
    root = str(Path(issuer.__file__).resolve().parent.parent)
    module = "issuer.issuance.keystore.template"
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", module, "--parent", str(os.getpid()), *extra_arguments],
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        # A site folder is on the child's path by itself, and there behind the standard library.
        env={} if root in site.getsitepackages() else {"PYTHONPATH": root},
        cwd="/",
        close_fds=True,
    )


def _hang_up(control: socket.socket) -> None:
    with contextlib.suppress(OSError):
        control.shutdown(socket.SHUT_RDWR)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
