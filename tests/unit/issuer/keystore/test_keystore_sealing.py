from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.issuance.keystore.sealing import SealRefused, derive_recipient, open_sealed, seal

TOKEN = bytes(range(32))
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
RECIPIENT = derive_recipient(TOKEN)


@given(token=st.binary(min_size=32, max_size=32), content=st.binary(max_size=5_000), context=st.binary())
def test_the_token_opens_what_was_sealed_to_its_public_key(
    token: bytes, content: bytes, context: bytes
) -> None:
    sealed = seal(derive_recipient(token), content, part="keystore", context=context)
    assert open_sealed(token, sealed, part="keystore", context=context) == content


def test_the_token_is_the_private_key_itself() -> None:
    """RFC 7748 6.1: Alice's private key, and X25519 of it and the base point."""
    token = bytes.fromhex(ALICE)
    assert derive_recipient(token).hex() == ALICE_PUBLIC


def test_another_token_opens_nothing() -> None:
    sealed = seal(RECIPIENT, b"secret", part="password", context=b"a/b")
    with pytest.raises(SealRefused):
        open_sealed(bytes(32), sealed, part="password", context=b"a/b")


def test_a_seal_holds_for_one_part_and_one_context() -> None:
    sealed = seal(RECIPIENT, b"secret", part="password", context=b"a/b")
    with pytest.raises(SealRefused):
        open_sealed(TOKEN, sealed, part="keystore", context=b"a/b")
    with pytest.raises(SealRefused):
        open_sealed(TOKEN, sealed, part="password", context=b"a/c")


@pytest.mark.parametrize("position", [0, 31, 32, -1])
def test_a_changed_byte_opens_nothing(position: int) -> None:
    sealed = bytearray(seal(RECIPIENT, b"secret", part="password", context=b"c"))
    sealed[position] ^= 1
    with pytest.raises(SealRefused):
        open_sealed(TOKEN, bytes(sealed), part="password", context=b"c")


@pytest.mark.parametrize("sealed", [b"", b"\0" * 31, b"\0" * 48])
def test_what_is_no_seal_is_refused_like_a_wrong_one(sealed: bytes) -> None:
    with pytest.raises(SealRefused):
        open_sealed(TOKEN, sealed, part="password", context=b"c")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_token_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SealRefused):
        derive_recipient(bytes(size))


def test_a_public_key_of_low_order_cannot_be_sealed_to() -> None:
    """RFC 9180 7.1.4: an all-zero shared secret must be refused."""
    with pytest.raises(ValueError):
        seal(bytes(32), b"secret", part="password", context=b"c")
