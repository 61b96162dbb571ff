"""The issuer's side of a job. Thread-safe: several issuance threads share one workshop."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import msgspec

from issuer.clock import RandomBytes, system_random
from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.confinement import Confinement
from issuer.issuance.keystore.errors import (
    WorkerFailed,
    WorkerGone,
    WorkerTimeout,
)
from issuer.issuance.keystore.keeper import TemplateKeeper
from issuer.issuance.keystore.keypairs import PublicKey, verify_proof
from issuer.issuance.keystore.messages import (
    CertificateMade,
    ChannelClosed,
    Job,
    KeyMade,
    KeystoreOrder,
    Message,
    PeerFailed,
    SealedKeystore,
    receive,
    send,
)

_NONCE_SIZE = 32


class OpenJob:
    """One worker that has made its key and waits for the certificate."""

    def __init__(self, channel: socket.socket, deadline: float, public_key: PublicKey) -> None:
        self._channel = channel
        self._deadline = deadline
        self.public_key = public_key

    def finish(self, certificate: bytes) -> SealedKeystore:
        """Hand in the DER certificate over ``public_key``; once. Raises WorkerFailed, WorkerTimeout."""
        try:
            _tell(self._channel, self._deadline, CertificateMade(certificate=certificate))
            return _ask(self._channel, self._deadline, SealedKeystore)
        except ChannelClosed:
            raise WorkerFailed("the keystore worker ended before it sealed the store") from None


class Workshop:
    """``start`` before any PKCS#11 module is loaded; ``close`` ends template and workers."""

    def __init__(self, config: KeystoreConfig, random: RandomBytes = system_random) -> None:
        self._config = config
        self._random = random
        self._places = threading.BoundedSemaphore(config.workers)
        self._keeper = TemplateKeeper(config.limits())

    def start(self) -> Confinement:
        """What holds every worker. Raises WorkshopError, saying which measure this machine lacks."""
        return self._keeper.start()

    @property
    def template_pid(self) -> int | None:
        """None for the moment in which a died template is being replaced."""
        return self._keeper.template_pid

    def check(self) -> None:
        """Raises WorkshopError where a died template could not be replaced: no store can be made."""
        self._keeper.check()

    def close(self) -> None:
        self._keeper.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def open(self, order: KeystoreOrder) -> Iterator[OpenJob]:
        """A worker of its own for this order. Leaving the context ends it, finished or not.

        Raises WorkerTimeout, WorkerFailed, WorkshopError; ValueError for an order that
        breaks its own bounds.
        """
        job = Job(order=order, rounds=self._rounds(order), nonce=self._random(_NONCE_SIZE))
        msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=Job)
        deadline = time.monotonic() + self._config.wall_seconds
        if not self._places.acquire(timeout=self._config.wall_seconds):
            raise WorkerTimeout("no worker was free in time")
        try:
            channel, made = self._begin(job, deadline)
            with channel:
                key = verify_proof(order.key_type, made.public_key, job.nonce, made.proof)
                yield OpenJob(channel, deadline, key)
        finally:
            self._places.release()

    def _rounds(self, order: KeystoreOrder) -> int:
        return self._config.legacy_kdf_rounds if order.profile == "legacy" else self._config.kdf_rounds

    def _begin(self, job: Job, deadline: float) -> tuple[socket.socket, KeyMade]:
        try:
            return self._try_begin(job, deadline)
        except WorkerGone:
            # Most likely the template died under the job: a new one is on its way. Nothing
            # was made, so a second attempt makes nothing twice.
            return self._try_begin(job, deadline)

    def _try_begin(self, job: Job, deadline: float) -> tuple[socket.socket, KeyMade]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._keeper.hand_over(theirs, deadline)
            _tell(ours, deadline, job)
            return ours, _ask(ours, deadline, KeyMade)
        except ChannelClosed:
            ours.close()
            raise WorkerGone("the keystore worker ended before it made a key") from None
        except BaseException:
            ours.close()
            raise


def _tell(channel: socket.socket, deadline: float, message: msgspec.Struct) -> None:
    _bound(channel, deadline)
    try:
        send(channel, message)
    except TimeoutError:
        raise WorkerTimeout("the keystore worker does not listen") from None


def _ask(channel: socket.socket, deadline: float, expected: type[Message]) -> Message:
    _bound(channel, deadline)
    try:
        return receive(channel, expected)
    except TimeoutError:
        raise WorkerTimeout(f"the keystore worker gave no {expected.__name__} in time") from None
    except PeerFailed as error:
        raise WorkerFailed(f"the keystore worker failed: {error}") from None
    except msgspec.MsgspecError as error:
        raise WorkerFailed(f"the keystore worker talks nonsense: {error}") from None


def _bound(channel: socket.socket, deadline: float) -> None:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise WorkerTimeout("the keystore job ran out of time")
    channel.settimeout(remaining)
