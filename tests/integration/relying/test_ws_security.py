"""docs/relying-services/ws-security.md: signed by one library, verified by two others."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from tests.fixtures.pages import block
from tests.fixtures.relying import Delivered, Relied, until

PAGE = "relying-services/ws-security.md"
SOURCES = Path(__file__).parents[2] / "relying" / "java"
JARS = [
    f"/usr/share/java/{name}.jar"
    for name in ("wss4j", "xmlsec", "commons-logging", "slf4j-api", "commons-codec")
]
SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
ENVELOPE = f"""<s:Envelope xmlns:s="{SOAP[1:-1]}">
  <s:Body><p:Prescription xmlns:p="urn:example:prescription">Paracétamol &amp; repos</p:Prescription></s:Body>
</s:Envelope>"""

Sign = Callable[..., Path]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("wss")
    (folder / "MyCertTrust.java").write_text(block("relying-services/java.md", "MyCertTrust.java").text)
    (folder / "WsSecurity.java").write_text(block(PAGE, "WsSecurity.java").text)
    sources = [str(path) for path in (*folder.glob("*.java"), SOURCES / "VerifyMessage.java")]
    classpath = ":".join([str(folder), *JARS])
    command = [
        "javac",
        "-Xlint:all,-path,-processing",
        "-Werror",
        "-cp",
        classpath,
        "-d",
        str(folder),
        *sources,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return classpath


@pytest.fixture
def sign(tmp_path: Path) -> Sign:
    page: dict[str, Callable[..., etree._Element]] = {}
    exec(compile(block(PAGE, "sign.py").text, "sign.py", "exec"), page)  # noqa: S102 - that is what pages are for

    def signed(store: Delivered, name: str, now: datetime | None = None) -> Path:
        message = page["sign"](
            etree.fromstring(ENVELOPE),
            store.keystore.read_bytes(),
            store.password.encode(),
            now or datetime.now(UTC),
        )
        path = tmp_path / f"{name}.xml"
        path.write_bytes(etree.tostring(message))
        return path

    return signed


def wss4j(relied: Relied, classes: str, *messages: Path) -> list[str]:
    anchors = [str(relied.folder / f"{name}.pem") for name in ("root", "issuing")]
    command = [
        "java",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        classes,
        "VerifyMessage",
        *anchors,
    ]
    done = subprocess.run([*command, *map(str, messages)], check=False, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert len(said) == len(messages), done.stderr
    return said


def xmlsec1(message: Path, certificate: Path) -> bool:
    """Whether the signature verifies with the key of ``certificate``."""
    command = block(PAGE, "xmlsec1").filled({"signer.pem": certificate, "message.xml": message})
    verify, _, _ = command.partition("\nopenssl")
    done = subprocess.run(["bash", "-c", verify], check=False, capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    assert ("OK" if done.returncode == 0 else "FAIL") in said, said
    return done.returncode == 0


def changed(message: Path, name: str, change: Callable[[etree._Element], None]) -> Path:
    envelope = etree.parse(message).getroot()
    change(envelope)
    path = message.with_name(f"{name}.xml")
    path.write_bytes(etree.tostring(envelope))
    return path


def wrap(envelope: etree._Element) -> None:
    """The signed Body moves into the header, another takes its place: the signature itself stays sound."""
    body = envelope.find(f"{SOAP}Body")
    forged = copy.deepcopy(body)
    forged[0].text = "Morphine"
    for name in forged.attrib:
        del forged.attrib[name]
    envelope.replace(body, forged)
    holder = etree.SubElement(envelope.find(f"{SOAP}Header"), "{urn:example:wrapper}Wrapper")
    holder.append(body)


def alter(envelope: etree._Element) -> None:
    envelope.find(f"{SOAP}Body")[0].text = "Morphine"


def strip(envelope: etree._Element) -> None:
    (signature,) = envelope.iter("{http://www.w3.org/2000/09/xmldsig#}Signature")
    signature.getparent().remove(signature)


def test_a_message_is_believed_until_the_store_is_deactivated(
    relied: Relied, classes: str, sign: Sign
) -> None:
    leaving = relied.deliver()
    message = sign(leaving, "sound")
    certificate = leaving.folder / "cert.pem"
    assert xmlsec1(message, certificate)
    assert not xmlsec1(message, relied.good.folder / "cert.pem")

    wrapped, altered = changed(message, "wrapped", wrap), changed(message, "altered", alter)
    stripped = changed(message, "stripped", strip)
    old = sign(leaving, "old", datetime.now(UTC) - timedelta(hours=1))
    assert xmlsec1(wrapped, certificate)  # which is why the page's list begins as it does
    assert not xmlsec1(altered, certificate)
    said = wss4j(relied, classes, message, wrapped, altered, stripped, old)
    assert said[0] == f"signed {leaving.number}"
    assert "Body is not signed" in said[1]
    assert all(line.startswith("refused") for line in said[2:]), said

    leaving.deactivate()
    status = block(PAGE, "xmlsec1").text.partition("\nopenssl")[1:]
    command = "openssl" + status[1]
    for stated, here in (
        ("issuing.pem", relied.folder / "issuing.pem"),
        ("root.pem", relied.folder / "root.pem"),
        ("signer.pem", certificate),
    ):
        command = command.replace(stated, str(here))

    def ocsp() -> str:
        done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
        assert "Response verify OK" in done.stderr, done.stderr
        return done.stdout

    until(lambda: "cert.pem: revoked" in ocsp(), "not revoked")
    (said_now,) = wss4j(relied, classes, message)
    assert said_now.startswith("refused"), said_now
    assert "revoked" in said_now


@pytest.mark.slow
def test_nobody_s_word_is_taken_where_the_status_cannot_be_had(
    relied: Relied, classes: str, sign: Sign
) -> None:
    message = sign(relied.good, "sound")
    with relied.front.down():
        assert wss4j(relied, classes, message)[0].startswith("refused")
    for lie in (relied.stale("ocsp"), relied.by_stranger, relied.by_professional):
        with relied.front.lying("/pki/ocsp", lie):
            assert wss4j(relied, classes, message)[0].startswith("refused")
    assert wss4j(relied, classes, message) == [f"signed {relied.good.number}"]
