from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from asn1crypto import x509 as asn1_x509
from hypothesis import given
from hypothesis import strategies as st

from issuer.clock import system_random
from issuer.issuance.errors import ProfileRefused, TemplateRefused
from issuer.issuance.templates import BACKDATE, Template, random_serial, serial_text
from tests.fixtures.authorities import JEANNE, NOW, chain, private_key, profiles


def template(now: datetime = NOW) -> Template:
    return profiles().professional.prepare(
        issuer=chain().issuing.issuer,
        key=private_key("p-256").public_key(),
        now=now,
        random=system_random,
        subject=JEANNE,
    )


def test_redeemed_once() -> None:
    prepared = template()
    prepared.redeem(chain().issuing.issuer)
    with pytest.raises(TemplateRefused, match="redeemed before"):
        prepared.redeem(chain().issuing.issuer)


def test_redeemed_once_by_many_threads() -> None:
    prepared = template()

    def redeem(_: int) -> bool:
        try:
            prepared.redeem(chain().issuing.issuer)
        except TemplateRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(redeem, range(64))) == 1


def test_another_authority_cannot_redeem_and_does_not_spend_it() -> None:
    prepared = template()
    with pytest.raises(TemplateRefused, match="another authority"):
        prepared.redeem(chain(number=1).issuing.issuer)
    with pytest.raises(TemplateRefused, match="another authority"):
        prepared.redeem(chain().root.issuer)
    assert prepared.redeem(chain().issuing.issuer) == prepared.tbs


def test_the_bytes_are_those_of_the_certificate_they_announce() -> None:
    prepared = template()
    tbs = asn1_x509.TbsCertificate.load(prepared.tbs, strict=True)
    assert tbs["serial_number"].native == prepared.serial
    assert tbs["validity"]["not_before"].native == prepared.not_before
    assert tbs["validity"]["not_after"].native == prepared.not_after


def test_validity_begins_a_little_early_and_counts_its_last_second() -> None:
    """RFC 5280 4.1.2.5: the period from notBefore through notAfter, inclusive."""
    prepared = template()
    assert prepared.not_before == (NOW - BACKDATE).replace(microsecond=0)
    assert prepared.not_after - prepared.not_before + timedelta(seconds=1) == timedelta(days=730)


def test_a_certificate_lives_within_its_issuers_life() -> None:
    issuer = chain().issuing.issuer
    assert issuer.not_after is not None
    late = template(issuer.not_after - timedelta(days=100))
    assert late.not_after == issuer.not_after
    early = template(NOW - BACKDATE + timedelta(seconds=1))
    assert early.not_before == issuer.not_before


def test_an_expired_issuer_prepares_nothing() -> None:
    end = chain().issuing.issuer.not_after
    assert end is not None
    with pytest.raises(TemplateRefused, match="expired"):
        template(end + timedelta(days=1))


@given(st.binary(min_size=20, max_size=20))
def test_serials_are_positive_and_of_20_octets(octets: bytes) -> None:
    """RFC 5280 4.1.2.2: positive, at most 20 octets; as DER the first bit is never set."""
    serial = random_serial(lambda size: octets[:size])
    assert 0 < serial < 1 << 159
    assert serial_text(serial) == serial.to_bytes(20).hex()
    assert serial & ((1 << 158) - 1) == int.from_bytes(octets) & ((1 << 158) - 1)


def test_no_professional_is_nobody() -> None:
    key = private_key("p-384").public_key()
    issuer, random = chain().issuing.issuer, system_random
    made = profiles().professional.prepare(issuer=issuer, key=key, now=NOW, random=random, subject=JEANNE)
    assert made.profile == "professional"
    with pytest.raises(ProfileRefused, match="nobody"):
        profiles().professional.prepare(issuer=issuer, key=key, now=NOW, random=random)
