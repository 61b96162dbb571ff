from __future__ import annotations

import pytest

from issuer.ceremony.script import CaStep, CeremonyRefused, CrlStep, ResponderStep, demo_script, parse_script

DEMO = demo_script().decode()


def test_the_demos_script() -> None:
    script = parse_script(DEMO.encode())
    assert [type(step) for step in script.steps] == [CaStep, CaStep, ResponderStep, CrlStep]
    assert script.operators == 1


def test_four_eyes_unless_the_script_says_less() -> None:
    assert parse_script(DEMO.replace("operators = 1\n", "").encode()).operators == 2


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ('name = "demo"', 'name = "../demo"', "regex"),
        ('name = "demo"', 'name = "demo"\ncolour = "red"', "colour"),
        ('"root.cer"', '"../root.cer"', "regex"),
        ('"root.cer"', '"/etc/root.cer"', "regex"),
        ('"root.cer"', '"root.crl"', "wrong ending"),
        ('"ocsp.cer"', '"issuing.cer"', "two steps with one output"),
        ('make = "crl"\nauthority = "root"', 'make = "crl"\nauthority = "issuing"', "only the root's CRL"),
        ('make = "ocsp"\nauthority = "issuing"', 'make = "ocsp"\nauthority = "root"', "no OCSP signer"),
        ('output = "root.crl"', 'output = "root.crl"\ndays = 366', "365"),
        (
            'output = "root.crl"',
            'output = "root.crl"\nrevoke = [{ certificate = "issuing.cer", reason = "superseded" }]',
            "first CRL",
        ),
        ('make = "ca"', 'make = "everything"', "everything"),
        ("operators = 1", "operators = 0", ">= 1"),
        ('token = "status"', 'token = "other"', "other"),
        ("[authorities.issuing]", "[authorities.other]", "other"),
        ("title", "\x00", "script"),
    ],
)
def test_scripts_that_cannot_be_run(before: str, after: str, why: str) -> None:
    assert before in DEMO
    with pytest.raises(CeremonyRefused, match=why):
        parse_script(DEMO.replace(before, after).encode())


def test_a_signer_comes_before_what_it_signs() -> None:
    root, issuing = (
        '[[steps]]\nmake = "ca"\nauthority = "root"\n',
        '[[steps]]\nmake = "ca"\nauthority = "issuing"\n',
    )
    swapped = DEMO.replace(issuing, "").replace(root, issuing + root)
    with pytest.raises(CeremonyRefused, match="comes before"):
        parse_script(swapped.encode())


def test_an_authority_that_nobody_declared() -> None:
    start, end = DEMO.index("[authorities.root]"), DEMO.index("[authorities.issuing]")
    with pytest.raises(CeremonyRefused, match="is missing"):
        parse_script((DEMO[:start] + DEMO[end:]).encode())


def test_octets_that_are_no_text() -> None:
    with pytest.raises(CeremonyRefused):
        parse_script(b"\xff\xfe")
