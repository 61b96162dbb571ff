from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest

from issuer.issuance.keystore.messages import (
    MAX_MESSAGE,
    CertificateMade,
    ChannelClosed,
    Failed,
    KeyMade,
    KeystoreOrder,
    PeerFailed,
    receive,
    send,
)

Pair = tuple[socket.socket, socket.socket]
ORDER: dict[str, object] = {
    "key_type": "p-256",
    "recipient": bytes(32),
    "context": b"request/store",
    "friendly_name": "myCert 0000000001",
    "profile": "modern",
    "chain": [b"der"],
}


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield left, right


def test_a_message_arrives_as_it_was_sent(pair: Pair) -> None:
    message = KeyMade(public_key=b"key", proof=b"proof")
    send(pair[0], message)
    assert receive(pair[1], KeyMade) == message


def test_another_kind_of_message_is_refused(pair: Pair) -> None:
    send(pair[0], KeyMade(public_key=b"key", proof=b"proof"))
    with pytest.raises(msgspec.ValidationError):
        receive(pair[1], CertificateMade)


def test_a_failure_of_the_peer_is_told_apart(pair: Pair) -> None:
    send(pair[0], Failed(kind="MemoryError"))
    with pytest.raises(PeerFailed, match="MemoryError"):
        receive(pair[1], KeyMade)


def test_a_closed_channel_is_told_apart(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(ChannelClosed):
        receive(pair[1], KeyMade)
    with pytest.raises(ChannelClosed):
        send(pair[1], KeyMade(public_key=b"key", proof=b"proof"))


@pytest.mark.parametrize("packet", [b"\xc1", b"\x80", b"KeyMade", b"\0" * (MAX_MESSAGE + 1)])
def test_any_other_packet_is_refused(pair: Pair, packet: bytes) -> None:
    pair[0].send(packet)
    with pytest.raises(msgspec.MsgspecError):
        receive(pair[1], KeyMade)


@pytest.mark.parametrize(
    "change",
    [
        {"key_type": "rsa-1024"},
        {"recipient": bytes(31)},
        {"context": b""},
        {"context": bytes(257)},
        {"friendly_name": "Jérôme"},
        {"friendly_name": ""},
        {"friendly_name": "a\n"},
        {"profile": "pbmac1"},
        {"chain": [b"der"] * 5},
        {"chain": [b""]},
    ],
)
def test_an_order_out_of_bounds_is_refused(change: dict[str, object]) -> None:
    msgspec.convert(ORDER, KeystoreOrder)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(ORDER | change, KeystoreOrder)
