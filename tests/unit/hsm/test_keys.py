from __future__ import annotations

from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute

from hsm.errors import KeyRefused
from hsm.keys import REQUIRED_ATTRIBUTES, KeyType, judge, key_type_of, parse_label


class ReportedKey:
    """A private key as a vendor reports it; an attribute that is None is not reported."""

    def __init__(self, **changes: bool | None) -> None:
        self._values: dict[Attribute, bool | None] = dict(REQUIRED_ATTRIBUTES)
        self._values.update({Attribute[name]: value for name, value in changes.items()})

    def __getitem__(self, attribute: Attribute) -> Any:
        value = self._values[attribute]
        if value is None:
            raise pkcs11.AttributeTypeInvalid
        return value


def findings(*accept: str, **changes: bool | None) -> tuple[str, ...]:
    return judge(ReportedKey(**changes), accept)  # type: ignore[arg-type]


def test_nothing_speaks_against_a_key_as_it_should_be() -> None:
    assert findings() == ()


@pytest.mark.parametrize("attribute", list(REQUIRED_ATTRIBUTES), ids=lambda attribute: attribute.name)
def test_every_attribute_counts(attribute: Attribute) -> None:
    wrong = not REQUIRED_ATTRIBUTES[attribute]
    assert findings(**{attribute.name: wrong}) == (f"{attribute.name} is {wrong}",)


def test_an_unreported_attribute_is_named_and_accepted_only_by_configuration() -> None:
    assert findings(NEVER_EXTRACTABLE=None) == ("NEVER_EXTRACTABLE is not reported",)
    assert findings("NEVER_EXTRACTABLE", NEVER_EXTRACTABLE=None) == ()


def test_accepting_what_is_unreported_does_not_accept_what_is_wrong() -> None:
    assert findings("NEVER_EXTRACTABLE", NEVER_EXTRACTABLE=False) == ("NEVER_EXTRACTABLE is False",)


@pytest.mark.parametrize("text", ["issuing-2024", "root", "OCSP_1.a"])
def test_labels(text: str) -> None:
    assert parse_label(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a b", "é", "a" * 65, "a\n", "a\x00"])
def test_other_labels_are_refused(text: str) -> None:
    with pytest.raises(KeyRefused):
        parse_label(text)


def test_key_types_are_told_from_public_keys() -> None:
    assert key_type_of(ec.generate_private_key(ec.SECP384R1()).public_key()) is KeyType.P_384
    assert key_type_of(rsa.generate_private_key(65537, 2048).public_key()) is KeyType.RSA_2048
    with pytest.raises(KeyRefused):
        key_type_of(ec.generate_private_key(ec.SECP521R1()).public_key())
