"""Which keys are made, and which are refused, on a real token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, MechanismFlag, ObjectClass
from pkcs11 import KeyType as CkKeyType

from hsm.errors import KeyExists, KeyMissing, KeyRefused
from hsm.keys import REQUIRED_ATTRIBUTES, KeyType, key_type_of
from hsm.signing import PrivateKey
from hsm.token import Token
from tests.fixtures.softhsm import make_key, sign_and_verify

Write = Callable[[Callable[[pkcs11.Session], object]], None]
P_256 = bytes.fromhex("06082a8648ce3d030107")
GOOD = {a: v for a, v in REQUIRED_ATTRIBUTES.items() if a is not Attribute.NEVER_EXTRACTABLE}


def pair(
    label: str, changes: dict[str, bool] | None = None, key_id: bytes = b"\x01"
) -> Callable[[pkcs11.Session], object]:
    """A P-256 pair as ``hsm`` would make it, but for the attributes changed."""
    template = GOOD | {Attribute[name]: value for name, value in (changes or {}).items()}

    def make(session: pkcs11.Session) -> object:
        curve = session.create_domain_parameters(CkKeyType.EC, {Attribute.EC_PARAMS: P_256}, local=True)
        return curve.generate_keypair(
            label=label, id=key_id, store=True, capabilities=MechanismFlag.SIGN, private_template=template
        )

    return make


@pytest.mark.parametrize("key_type", list(KeyType))
def test_every_type_is_made_sound_and_signs(token: Token, key_type: KeyType) -> None:
    key = make_key(token, "a-key", key_type)
    assert key_type_of(key.public_key()) is key_type
    sign_and_verify(key)
    (report,) = token.inventory()
    assert (report.label, report.key_type, report.findings) == ("a-key", key_type, ())


def test_the_token_itself_gives_no_value_of_a_key_away(key: PrivateKey, write: Write) -> None:
    def read(session: pkcs11.Session) -> None:
        (private,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        with pytest.raises(pkcs11.AttributeSensitive):
            private[Attribute.VALUE]

    write(read)


def test_a_label_is_used_once(token: Token, key: PrivateKey) -> None:
    with pytest.raises(KeyExists):
        token.generate("first", "rsa-2048")
    sign_and_verify(key)


def test_a_label_stays_taken_by_what_is_left_of_its_pair(token: Token, key: PrivateKey, write: Write) -> None:
    def destroy_private(session: pkcs11.Session) -> None:
        (private,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        private.destroy()

    write(destroy_private)
    with pytest.raises(KeyExists):
        token.generate("first", "p-256")


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"EXTRACTABLE": True}, "EXTRACTABLE is True; NEVER_EXTRACTABLE is False"),
        ({"SENSITIVE": False}, "SENSITIVE is False"),
        ({"PRIVATE": False}, "PRIVATE is False"),
        ({"DERIVE": True}, "DERIVE is True"),
        ({"DECRYPT": True}, "DECRYPT is True"),
        ({"UNWRAP": True}, "UNWRAP is True"),
    ],
)
def test_a_key_of_other_attributes_is_refused(
    token: Token, write: Write, changes: dict[str, bool], finding: str
) -> None:
    write(pair("weak", changes))
    with pytest.raises(KeyRefused, match=finding):
        token.private_key("weak", token.public_key("weak"))
    with pytest.raises(KeyRefused):
        token.probe("weak")
    (report,) = token.inventory()
    assert "; ".join(report.findings) == finding


def test_a_key_that_was_imported_is_refused(token: Token, write: Write) -> None:
    """Made elsewhere, it may have been copied there: never NEVER_EXTRACTABLE (PKCS#11 4.9)."""
    made = ec.generate_private_key(ec.SECP256R1())
    value = made.private_numbers().private_value.to_bytes(32, "big")
    attributes: dict[Attribute, Any] = {
        Attribute.CLASS: ObjectClass.PRIVATE_KEY,
        Attribute.KEY_TYPE: CkKeyType.EC,
        Attribute.EC_PARAMS: P_256,
        Attribute.VALUE: value,
        Attribute.LABEL: "imported",
        Attribute.ID: b"\x01",
    }
    write(lambda session: session.create_object(attributes | GOOD))
    with pytest.raises(KeyRefused, match="NEVER_EXTRACTABLE is False"):
        token.private_key("imported", made.public_key())


def test_two_keys_of_one_label_are_refused(token: Token, write: Write) -> None:
    write(pair("twin"))
    public_key = token.public_key("twin")
    write(pair("twin", key_id=b"\x02"))
    with pytest.raises(KeyRefused, match="2 objects"):
        token.private_key("twin", public_key)
    with pytest.raises(KeyRefused, match="2 objects"):
        token.public_key("twin")
    assert all("the label is not unique" in report.findings for report in token.inventory())


def test_a_twin_that_appears_in_service_is_refused_after_recovery(
    token: Token, key: PrivateKey, write: Write, behind: Any
) -> None:
    write(pair("first"))
    behind.close_sessions()
    with pytest.raises(KeyRefused, match="2 objects"):
        sign_and_verify(key)


def test_a_key_that_is_not_its_certificates_is_refused(token: Token, key: PrivateKey) -> None:
    with pytest.raises(KeyRefused, match="not the certificate's"):
        token.private_key("first", ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(KeyRefused, match="kind"):
        token.private_key("first", make_key(token, "an-rsa-key", "rsa-2048").public_key())
    sign_and_verify(key)


def test_where_the_token_has_no_public_key_the_signature_tells(
    token: Token, key: PrivateKey, write: Write
) -> None:
    def destroy_public(session: pkcs11.Session) -> None:
        (public,) = session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})
        public.destroy()

    write(destroy_public)
    with pytest.raises(KeyRefused, match="not with its certificate's key"):
        token.private_key("first", ec.generate_private_key(ec.SECP256R1()).public_key())
    sign_and_verify(token.private_key("first", key.public_key()))
    (report,) = token.inventory()
    assert report.key_type == "unknown"


def test_a_label_nobody_carries(token: Token, key: PrivateKey) -> None:
    with pytest.raises(KeyMissing):
        token.public_key("nobody")
    with pytest.raises(KeyMissing):
        token.private_key("nobody", key.public_key())
    with pytest.raises(KeyMissing):
        token.probe("nobody")
    generation = token.generation
    sign_and_verify(key)
    assert token.generation == generation  # what was asked in vain casts no suspicion on what works


def test_no_label_and_no_key_type_reach_the_token_unchecked(token: Token) -> None:
    with pytest.raises(KeyRefused):
        token.generate("a label", "p-256")
    with pytest.raises(ValueError, match="p-521"):
        token.generate("a-label", "p-521")
    assert token.inventory() == []
