from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.mail.address import parse_address
from api.mail.errors import AddressRefused


@pytest.mark.parametrize(
    ("text", "shown", "wire"),
    [
        ("mon@adresse.lu", "mon@adresse.lu", "mon@adresse.lu"),
        (" mon@adresse.lu ", "mon@adresse.lu", "mon@adresse.lu"),
        ("Jean.Thill+esante@Example.COM", "Jean.Thill+esante@example.com", "Jean.Thill+esante@example.com"),
        ("o'brien_{x}@example.com", "o'brien_{x}@example.com", "o'brien_{x}@example.com"),
        ("a@müller.lu", "a@müller.lu", "a@xn--mller-kva.lu"),
        ("a@xn--mller-kva.lu", "a@müller.lu", "a@xn--mller-kva.lu"),
        ("a@praxis.test", "a@praxis.test", "a@praxis.test"),
        ("a@cabinet.local", "a@cabinet.local", "a@cabinet.local"),
        ("a@mail.invalid", "a@mail.invalid", "a@mail.invalid"),
        (f"{'a' * 64}@example.com", f"{'a' * 64}@example.com", f"{'a' * 64}@example.com"),
    ],
)
def test_addresses_that_pass(text: str, shown: str, wire: str) -> None:
    address = parse_address(text)
    assert (address.text, address.wire, str(address)) == (shown, wire, shown)
    assert parse_address(address.text) == parse_address(address.wire) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "adresse.lu",
        "@adresse.lu",
        "mon@",
        "mon@@adresse.lu",
        "a b@adresse.lu",
        "mon@adresse.lu, autre@adresse.lu",
        "mon@adresse.lu;autre@adresse.lu",
        "mon@adresse.lu\r\nBcc: autre@adresse.lu",
        "mon@adresse.lu\n",
        "mon\x00@adresse.lu",
        "mon\u200b@adresse.lu",
        "mon\u202e@adresse.lu",
        '"mon nom"@adresse.lu',
        '"mon"@adresse.lu',
        "Mon Nom <mon@adresse.lu>",
        "<mon@adresse.lu>",
        "mon@127.0.0.1",
        "mon@[127.0.0.1]",
        "mon@[IPv6:::1]",
        "mon@localhost",
        "mon@-adresse.lu",
        "mon@adresse..lu",
        ".mon@adresse.lu",
        "mon.@adresse.lu",
        "m..on@adresse.lu",
        "médecin@adresse.lu",
        "=?utf-8?q?mon?=@adresse.lu",
        "=?utf-8?b?bW9u?=@adresse.lu",
        f"{'a' * 65}@adresse.lu",
        f"a@{'b' * 64}.lu",
        f"a@{'b.' * 126}lu",
        f"a@{'ü' * 60}.lu",
        "a@" + ".".join(["ü" * 40] * 6) + ".lu",
        "x" * 100_000 + "@adresse.lu",
    ],
)
def test_addresses_that_do_not(text: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        parse_address(text)
    assert caught.value.code == "email-invalid"
    assert text.strip()[:20] not in str(caught.value) or not text, "an address has no place in the log"


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40).map(lambda text: f"{text}@example.com"))
def test_what_passes_is_safe_on_the_wire(text: str) -> None:
    try:
        wire = parse_address(text).wire
    except AddressRefused:
        return
    assert wire.isascii()
    assert wire.isprintable()
    assert not set(wire) & set(' ",:;<>()[]\\')
    assert wire.count("@") == 1
