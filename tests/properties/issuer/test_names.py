"""Any name of any person gives a certificate free of findings, or a refusal that says which field."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from issuer.issuance.errors import SubjectRefused
from tests.fixtures.authorities import JEANNE, chain

REFUSED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
reasonable = st.text(st.characters(categories=("L", "M", "Zs", "Pd", "Po", "Nd")), min_size=1, max_size=90)
anything = st.text(max_size=40)


@given(given_name=reasonable, family_name=reasonable)
@settings(max_examples=300, deadline=None)
def test_reasonable_names_give_sound_certificates(given_name: str, family_name: str) -> None:
    if not given_name.split() or not family_name.split():
        given_name, family_name = f"A{given_name}", f"B{family_name}"
    issued = chain().certificate(subject=replace(JEANNE, given_name=given_name, family_name=family_name))
    for oid, text in ((NameOID.GIVEN_NAME, given_name), (NameOID.SURNAME, family_name)):
        expected = unicodedata.normalize("NFC", " ".join(text.split()))
        assert issued.subject.get_attributes_for_oid(oid)[0].value == expected
    common_name = issued.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert 1 <= len(common_name.encode()) <= 64  # type: ignore[union-attr]


@given(given_name=anything, family_name=anything, profession_code=anything)
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_issued_or_refused(given_name: str, family_name: str, profession_code: str) -> None:
    subject = replace(JEANNE, given_name=given_name, family_name=family_name, profession_code=profession_code)
    texts = (family_name, given_name, profession_code)
    sound = all(
        text.split() and not any(unicodedata.category(one) in REFUSED for one in text) for text in texts
    )
    if sound:
        chain().certificate(subject=subject)
    else:
        with pytest.raises(SubjectRefused, match=r"^(family_name|given_name|profession_code): "):
            chain().certificate(subject=subject)
