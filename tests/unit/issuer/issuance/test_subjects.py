from __future__ import annotations

import tomllib
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from issuer.issuance.config import PkiConfig
from issuer.issuance.errors import SubjectRefused
from issuer.issuance.subjects import authority_name, common_name, person_name
from tests.fixtures.authorities import JEANNE, chain

VECTORS = tomllib.loads((Path(__file__).parents[3] / "vectors/issuance/names.toml").read_text())["name"]


def values(name: x509.Name) -> list[tuple[str, str]]:
    return [(attribute.rfc4514_attribute_name, str(attribute.value)) for attribute in name]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["why"])
def test_names_stand_in_certificates_or_are_refused(vector: dict[str, Any]) -> None:
    """Each vector that is not refused is issued for real: linted, signed, read back."""
    subject = replace(JEANNE, given_name=vector["given"], family_name=vector["family"])
    if refused := vector.get("refused"):
        with pytest.raises(SubjectRefused, match=f"^{refused}: ") as refusal:
            person_name(PkiConfig(), subject)
        assert refusal.value.code == "invalid-request"
        return
    issued = chain().certificate(subject=subject).subject
    assert issued.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == vector["common_name"]
    for oid, given in ((NameOID.GIVEN_NAME, vector["given"]), (NameOID.SURNAME, vector["family"])):
        assert issued.get_attributes_for_oid(oid)[0].value == unicodedata.normalize(
            "NFC", " ".join(given.split())
        )


def test_a_refusal_never_quotes_the_name() -> None:
    with pytest.raises(SubjectRefused) as refusal:
        person_name(PkiConfig(), replace(JEANNE, family_name="Secret\x07Name"))
    assert "Secret" not in str(refusal.value)


def test_subject_of_a_professional() -> None:
    """profiles.md: C=LU, surname, givenName, serialNumber=eHealthID, title=profession code, CN."""
    assert values(chain().certificate().subject) == [
        ("C", "LU"),
        ("2.5.4.4", "Muller"),
        ("2.5.4.42", "Jeanne"),
        ("2.5.4.5", "2221212124"),
        ("2.5.4.12", "PS-001"),
        ("CN", "Jeanne Muller"),
    ]


def test_country_and_serial_number_are_printable_strings_and_all_else_utf8() -> None:
    kinds = {attribute.oid: attribute._type.name for attribute in chain().certificate().subject}
    assert kinds.pop(NameOID.COUNTRY_NAME) == "PrintableString"
    assert kinds.pop(NameOID.SERIAL_NUMBER) == "PrintableString"
    assert set(kinds.values()) == {"UTF8String"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ehealth_id": "22212121_4"}, "ehealth_id"),
        ({"ehealth_id": "é221212124"}, "ehealth_id"),
        ({"ehealth_id": "1" * 65}, "ehealth_id"),
        ({"profession_code": ""}, "profession_code"),
        ({"profession_code": "P" * 65}, "profession_code"),
        ({"given_name": "x" * 257}, "given_name"),
    ],
)
def test_other_fields_are_refused_too(changes: dict[str, str], field: str) -> None:
    with pytest.raises(SubjectRefused, match=f"^{field}: "):
        person_name(PkiConfig(), replace(JEANNE, **changes))


def test_no_profession_label_changes_nothing() -> None:
    without = chain().certificate(subject=replace(JEANNE, profession_label=None))
    assert without.subject == chain().certificate().subject


def test_a_cut_never_parts_a_letter_from_its_marks() -> None:
    """Telugu has no composed forms, so NFC leaves its marks apart."""
    name = common_name("A", "క్ష" * 40)
    assert len(name.encode()) <= 64
    assert not unicodedata.combining(("A. " + "క్ష" * 40)[len(name)])


def test_subjects_of_authorities() -> None:
    pki = PkiConfig()
    assert [name for name, _ in values(authority_name(pki, "root"))] == ["C", "O", "2.5.4.97", "CN"]
    assert [name for name, _ in values(authority_name(pki, "issuing"))] == ["C", "O", "2.5.4.97", "CN"]
    assert [name for name, _ in values(authority_name(pki, "ocsp"))] == ["C", "O", "CN"]
