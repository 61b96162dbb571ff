"""One job, in a process of its own. The process's end is the only wipe Python can promise."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import NoReturn

from cryptography.x509 import load_der_x509_certificate

from issuer.clock import RandomBytes, system_random
from issuer.issuance.keystore import keypairs
from issuer.issuance.keystore.confinement import Confinement, Limits, confine
from issuer.issuance.keystore.kernel import set_process_name
from issuer.issuance.keystore.messages import (
    CertificateMade,
    Failed,
    Job,
    KeyMade,
    SealedKeystore,
    receive,
    send,
)
from issuer.issuance.keystore.password import make_password
from issuer.issuance.keystore.pkcs12 import make_pkcs12
from issuer.issuance.keystore.sealing import seal

WorkerLife = Callable[[socket.socket, Confinement], None]
"""What a worker does once it is confined; the second argument is what was achieved."""


class Refused(Exception):
    """The worker will not go on. The text is the code's own and goes to the log."""


def be_worker(channel: socket.socket, limits: Limits, parent: int, life: WorkerLife) -> NoReturn:
    """The child from fork to end. Never returns, and runs nobody's exit handlers."""
    try:
        _keep_only(channel.fileno())
        set_process_name("mycert-worker")
        confinement = confine(limits, parent)
        if unmet := confinement.unmet(limits.allow_missing):
            raise Refused(", ".join(f"{measure} is missing ({why})" for measure, why in unmet.items()))
        life(channel, confinement)
    except BaseException as error:  # noqa: BLE001
        # Nothing may unwind into the template's code. Any other exception's text may quote
        # what it stumbled over.
        kind = str(error) if isinstance(error, Refused) else type(error).__name__
        try:
            send(channel, Failed(kind=kind[:500]))
        finally:
            os._exit(1)
    os._exit(0)


def serve(channel: socket.socket, _: Confinement) -> None:
    """One order, one key, one certificate, one sealed store."""

    def certify(made: KeyMade) -> bytes:
        send(channel, made)
        # The worker's alarm bounds this wait.
        return receive(channel, CertificateMade).certificate

    send(channel, make_keystore(receive(channel, Job), certify))


def make_keystore(
    job: Job, certify: Callable[[KeyMade], bytes], random: RandomBytes = system_random
) -> SealedKeystore:
    """Raises Refused for a certificate over another key, and whatever the libraries raise."""
    order = job.order
    key = keypairs.generate(order.key_type)
    public_key = keypairs.public_bytes(key.public_key())
    certificate = load_der_x509_certificate(
        certify(KeyMade(public_key=public_key, proof=keypairs.prove(key, job.nonce)))
    )
    if certificate.public_key() != key.public_key():
        raise Refused("the certificate is over another key")
    password = make_password(random)
    keystore = make_pkcs12(
        key,
        certificate,
        [load_der_x509_certificate(der) for der in order.chain],
        friendly_name=order.friendly_name,
        password=password,
        profile=order.profile,
        rounds=job.rounds,
    )
    return SealedKeystore(
        password=seal(order.recipient, password.encode("ascii"), part="password", context=order.context),
        keystore=seal(order.recipient, keystore, part="keystore", context=order.context),
    )


def _keep_only(descriptor: int) -> None:
    # The template's control socket above all: with it a worker could answer for the template.
    if descriptor > 0:  # closerange(0, 0) closes everything
        os.closerange(0, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
