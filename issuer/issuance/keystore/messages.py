"""What the issuer and a worker say to each other: one msgpack message a packet, sizes bounded."""

from __future__ import annotations

import socket
from typing import Annotated, TypeVar, cast

import msgspec

from issuer.issuance.keystore.confinement import Confinement, Limits
from issuer.issuance.keystore.keypairs import KeyType
from issuer.issuance.keystore.pkcs12 import Profile

MAX_MESSAGE = 64 * 1024
_Der = Annotated[bytes, msgspec.Meta(min_length=1, max_length=8 * 1024)]


class KeystoreOrder(msgspec.Struct, frozen=True, kw_only=True):
    """``recipient`` is the delivery token's X25519 public key; ``context`` names request and store."""

    key_type: KeyType
    recipient: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    context: Annotated[bytes, msgspec.Meta(min_length=1, max_length=256)]
    # Java's alias is this name, and non-ASCII ones break readers.
    friendly_name: Annotated[str, msgspec.Meta(pattern=r"^[\x20-\x7e]{1,64}\Z")]
    profile: Profile
    chain: Annotated[list[_Der], msgspec.Meta(max_length=4)]


class SealedKeystore(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    password: bytes
    keystore: bytes


class Job(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    order: KeystoreOrder
    rounds: int
    nonce: bytes


class KeyMade(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    public_key: bytes
    proof: bytes


class CertificateMade(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    certificate: _Der


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """``kind`` is a name out of the code, never an exception's text, which may quote a secret."""

    kind: Annotated[str, msgspec.Meta(max_length=500)]


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """To the template, once: what its workers are held to."""

    limits: Limits


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From the template, once: its rehearsal succeeded under this confinement."""

    confinement: Confinement


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From the template: a worker ended; ``status`` is negative for a signal."""

    pid: int
    status: int


Message = TypeVar("Message", bound=msgspec.Struct)


class ChannelClosed(Exception):
    """The other side closed its end."""


class PeerFailed(Exception):
    """The other side said so; the text is its ``Failed.kind``."""


def send(channel: socket.socket, message: msgspec.Struct) -> None:
    """Raises ChannelClosed."""
    try:
        channel.send(msgspec.msgpack.encode(message))
    except (BrokenPipeError, ConnectionResetError):
        raise ChannelClosed from None


def receive(channel: socket.socket, expected: type[Message]) -> Message:
    """Raises ChannelClosed, PeerFailed, TimeoutError, or msgspec.MsgspecError for any other content."""
    try:
        packet = channel.recv(MAX_MESSAGE + 1)
    except ConnectionResetError:
        raise ChannelClosed from None
    if not packet:
        raise ChannelClosed
    if len(packet) > MAX_MESSAGE:
        raise msgspec.ValidationError("the message is too long")
    message = msgspec.msgpack.decode(packet, type=expected | Failed)
    if isinstance(message, Failed):
        raise PeerFailed(message.kind)
    return cast(Message, message)
