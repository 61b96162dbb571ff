"""The whole of a job on throw-away material, twice before the first order is taken.

Once in the template, so that every module and every OpenSSL provider is loaded before
workers lose the file system. Once in a confined child, so that a library or kernel that
needs a forbidden system call fails the start and not somebody's store.
"""

from __future__ import annotations

import datetime
import socket

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import NameOID

from issuer.issuance.keystore import keypairs
from issuer.issuance.keystore.confinement import Confinement
from issuer.issuance.keystore.keypairs import KeyType
from issuer.issuance.keystore.messages import CertificateMade, Job, KeyMade, KeystoreOrder, Ready, send
from issuer.issuance.keystore.pkcs12 import Profile
from issuer.issuance.keystore.sealing import derive_recipient
from issuer.issuance.keystore.worker import make_keystore

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
_EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_PARTS: tuple[tuple[KeyType, Profile], ...] = (("p-256", "modern"), ("rsa-2048", "legacy"))


def rehearse() -> None:
    """Raises whatever a job would."""
    issuing = generate_private_key(SECP384R1())

    def certify(made: KeyMade) -> bytes:
        subject_key = load_der_public_key(made.public_key)
        assert isinstance(subject_key, keypairs.PublicKey)  # noqa: S101 - for the type checker
        builder = x509.CertificateBuilder(
            _NAME, _NAME, subject_key, 1, _EPOCH, _EPOCH + datetime.timedelta(days=1)
        )
        certificate = builder.sign(issuing, SHA384()).public_bytes(Encoding.DER)
        sent = msgspec.msgpack.encode(CertificateMade(certificate=certificate))
        return msgspec.msgpack.decode(sent, type=CertificateMade).certificate

    chain: list[bytes] = []
    for key_type, profile in _PARTS:
        order = KeystoreOrder(
            key_type=key_type,
            recipient=derive_recipient(bytes(range(32))),
            context=b"rehearsal",
            friendly_name="rehearsal",
            profile=profile,
            chain=chain,
        )
        job = msgspec.msgpack.encode(Job(order=order, rounds=2_048, nonce=bytes(32)))
        msgspec.msgpack.encode(make_keystore(msgspec.msgpack.decode(job, type=Job), certify))
        # The second part has the chain of one that every real order has.
        chain = [certify(KeyMade(public_key=keypairs.public_bytes(issuing.public_key()), proof=b""))]


def rehearse_confined(channel: socket.socket, confinement: Confinement) -> None:
    rehearse()
    send(channel, Ready(confinement=confinement))
