from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm.token import Token
from issuer.ceremony import making
from issuer.ceremony.record import Journal, verify_record
from issuer.ceremony.script import CeremonyRefused, demo_script
from issuer.durable import write_file
from issuer.issuance.authority import Authority
from issuer.issuance.config import PkiConfig
from issuer.issuance.crl import verify_crl
from issuer.issuance.errors import AuthorityRefused, ProfileRefused
from issuer.publisher.ocsp import Responder
from tests.integration.ceremony.conftest import Room, Run

MADE = ["ceremony-demo.json", "ceremony-demo.json.sig", "issuing.cer", "ocsp.cer", "root.cer", "root.crl"]

HEADER = """
name = "{name}"
title = "A later ceremony"
operators = 2

[authorities.root]
token = "root"
key = "root"
certificate = "root.cer"

[authorities.issuing]
token = "issuing"
key = "issuing"
certificate = "issuing.cer"
"""

RENEWAL = (
    HEADER.format(name="renewal")
    + """
[[steps]]
make = "crl"
authority = "root"
output = "root.crl"
replace = true
"""
)


def certificate(room: Room, name: str) -> x509.Certificate:
    return x509.load_der_x509_certificate((room.output / name).read_bytes())


def authority(room: Room, name: str) -> Authority:
    own = certificate(room, f"{name}.cer")
    token = room.tokens[name]
    above = () if name == "root" else (certificate(room, "root.cer"),)
    key = token.private_key(name, token.public_key(name))
    return Authority.open(name, own, key, above, now=room.now)


def test_the_demos_ceremony(room: Room) -> None:
    record = room.run()
    assert room.files() == MADE
    issuing = authority(room, "issuing")
    facts = verify_crl(
        (room.output / "root.crl").read_bytes(), authority(room, "root").issuer, previous_number=None
    )
    assert (facts.number, facts.entries) == (1, 0)
    assert facts.next_update - facts.this_update == timedelta(days=365)
    assert facts.this_update < room.now  # For services whose clocks are behind (ADR 32).
    status = room.tokens["status"]
    key = status.private_key("ocsp", status.public_key("ocsp"))
    Responder.open(certificate(room, "ocsp.cer"), key, issuing.certificate, now=room.now)
    assert [step.output for step in record.steps] == ["root.cer", "issuing.cer", "ocsp.cer", "root.crl"]


def test_every_key_is_of_its_token_and_without_findings(room: Room) -> None:
    room.run()
    found = {
        name: [(key.label, key.findings) for key in room.tokens[name].inventory()] for name in room.tokens
    }
    assert found == {"root": [("root", ())], "issuing": [("issuing", ())], "status": [("ocsp", ())]}


def test_the_record_is_signed_by_the_root(room: Room, run: Run, tmp_path: Path) -> None:
    room.run(operators=("Ada", "Grace", "Ada "))
    document = (room.output / "ceremony-demo.json").read_bytes()
    signature = (room.output / "ceremony-demo.json.sig").read_bytes()
    verify_record(document, signature, certificate(room, "root.cer"))
    with pytest.raises(CeremonyRefused):
        verify_record(document.replace(b"Ada", b"Eve"), signature, certificate(room, "root.cer"))
    record = json.loads(document)
    assert record["operators"] == ["Ada", "Grace"]
    assert [event["event"] for event in record["journal"]] == [
        "begun",
        *("key", "sign", "key", "sign", "key", "sign", "sign"),
    ]
    for step in record["steps"]:
        if step["made"] != "CRL":
            own = certificate(room, step["output"])
            assert step["serial"] == f"{own.serial_number:040x}"
    public = certificate(room, "root.cer").public_key()
    pem = tmp_path / "root.pem"
    pem.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    files = (room.output / "ceremony-demo.json.sig", room.output / "ceremony-demo.json")
    assert "Verified OK" in run("openssl", "dgst", "-sha384", "-verify", pem, "-signature", *files)


def test_a_dry_run_changes_nothing(room: Room) -> None:
    record = room.run(dry_run=True)
    assert record.finished_at is None
    assert [step.output for step in record.steps] == ["root.cer", "issuing.cer", "ocsp.cer", "root.crl"]
    assert room.files() == []
    assert not any(token.inventory() for token in room.tokens.values())
    assert room.said[0] == "would make CA root.cer, signed by root"


def test_a_finished_ceremony_is_not_run_again(room: Room) -> None:
    room.run()
    before = {path: path.read_bytes() for path in room.output.iterdir()}
    with pytest.raises(CeremonyRefused, match="finished"):
        room.run()
    assert {path: path.read_bytes() for path in room.output.iterdir()} == before


class Crash(Exception):
    pass


def crash_points() -> list[tuple[str, int]]:
    """After each journal line, each key and each file that the demo's ceremony makes."""
    return [
        *(("journal", n) for n in range(1, 9)),
        *(("key", n) for n in range(1, 4)),
        *(("file", n) for n in range(1, 5)),
    ]


@pytest.mark.parametrize(("what", "number"), crash_points())
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_anywhere_is_taken_up(
    room: Room, monkeypatch: pytest.MonkeyPatch, what: str, number: int, when: str
) -> None:
    owner: Any
    owner, name = {
        "journal": (Journal, "write"),
        "key": (Token, "generate"),
        "file": (making, "write_file"),
    }[what]
    original = getattr(owner, name)
    calls = 0

    def crashing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            raise Crash
        result = original(*arguments, **named)
        if calls == number:
            raise Crash
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, crashing)
        with pytest.raises(Crash):
            room.run()
    kept = {path.name: path.read_bytes() for path in room.output.glob("*.c*r*")}
    room.pass_(hours=1)
    record = room.run()
    assert room.files() == MADE
    assert {name: (room.output / name).read_bytes() for name in kept} == kept
    assert all(len(token.inventory()) == 1 for token in room.tokens.values())
    announced = {event["serial"] for event in record.journal if "serial" in event}
    assert {step.serial for step in record.steps if step.serial} <= announced
    authority(room, "issuing").probe()


def test_another_script_does_not_take_up_a_ceremony(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(making, "write_file", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            room.run()
    with pytest.raises(CeremonyRefused, match="another script"):
        room.run(demo_script() + b"\n# changed\n")


def test_a_file_that_is_there_is_never_overwritten(room: Room) -> None:
    (room.output / "issuing.cer").write_bytes(b"somebody's")
    with pytest.raises(CeremonyRefused, match=r"issuing\.cer: exists"):
        room.run()
    assert room.files() == ["issuing.cer"]
    assert room.tokens["root"].inventory() == []


def test_a_key_that_is_there_is_never_adopted(room: Room) -> None:
    room.tokens["status"].generate("ocsp", "p-256")
    with pytest.raises(CeremonyRefused, match="key ocsp on token status is there already"):
        room.run()
    assert room.files() == []


def test_four_eyes(room: Room) -> None:
    room.run()
    with pytest.raises(CeremonyRefused, match="2 operators"):
        room.run(RENEWAL, operators=("Ada", " Ada"))
    room.run(RENEWAL, operators=("Ada", "Grace"))


def test_the_roots_crl_is_renewed_and_revokes(room: Room) -> None:
    room.run()
    revoking = (
        HEADER.format(name="emergency")
        + """
[[steps]]
make = "crl"
authority = "root"
output = "root.crl"
replace = true
revoke = [{ certificate = "issuing.cer", reason = "keyCompromise" }]
"""
    )
    room.run(revoking, operators=("Ada", "Grace"))
    first = x509.load_der_x509_crl((room.output / "root.crl").read_bytes())
    issuing = certificate(room, "issuing.cer").serial_number
    assert [one.serial_number for one in first] == [issuing]
    room.pass_(days=200)
    room.run(RENEWAL, operators=("Ada", "Grace"))
    second = x509.load_der_x509_crl((room.output / "root.crl").read_bytes())
    assert second.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    assert [(one.serial_number, one.revocation_date_utc) for one in second] == [
        (one.serial_number, one.revocation_date_utc) for one in first
    ]


def test_the_ocsp_signers_key_is_certified_again(room: Room) -> None:
    room.run()
    again = (
        HEADER.format(name="signer-2")
        + """
[[steps]]
make = "ocsp"
authority = "issuing"
token = "status"
key = "ocsp"
existing_key = true
output = "ocsp-2.cer"
"""
    )
    room.run(again, operators=("Ada", "Grace"))
    assert certificate(room, "ocsp-2.cer").public_key() == certificate(room, "ocsp.cer").public_key()
    with pytest.raises(CeremonyRefused, match="key gone on token status is not there"):
        gone = again.replace('"ocsp"\nexisting', '"gone"\nexisting').replace("ocsp-2", "ocsp-3")
        room.run(gone.replace("signer-2", "signer-3"), operators=("A", "B"))


def test_another_ca_key_is_refused(room: Room) -> None:
    room.run()
    room.tokens["root"].generate("other", "p-384")
    wrong = RENEWAL.replace('key = "root"', 'key = "other"')
    with pytest.raises(AuthorityRefused, match="not the certificate's"):
        room.run(wrong, operators=("A", "B"))


def test_profiles_are_proven_before_a_key_is_made(room: Room) -> None:
    with pytest.raises(ProfileRefused):
        room.run(pki=PkiConfig(public_url="http://pki.internal"))
    assert not any(token.inventory() for token in room.tokens.values())


@pytest.mark.parametrize("number", [1, 2])
def test_a_crash_before_the_record_is_signed_is_taken_up(
    room: Room, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    written: list[Path] = []

    def crashing(path: Path, content: bytes, *, replace: bool) -> None:
        written.append(path)
        if len(written) == number:
            raise Crash
        write_file(path, content, replace=replace)

    with monkeypatch.context() as patch:
        patch.setattr("issuer.ceremony.run.write_file", crashing)
        with pytest.raises(Crash):
            room.run()
    room.run()
    assert room.files() == MADE
    document = (room.output / "ceremony-demo.json").read_bytes()
    signature = (room.output / "ceremony-demo.json.sig").read_bytes()
    verify_record(document, signature, certificate(room, "root.cer"))
