"""The table of verdicts in docs/relying-services/README.md: each relying party in each situation."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseStatus, load_der_ocsp_response
from pyhanko_certvalidator.errors import ValidationError

from issuer.publisher.ocsp_request import CertId
from tests.fixtures.front import Lie
from tests.fixtures.pages import DOCS, block
from tests.fixtures.relying import Delivered, Relied, until
from tests.fixtures.servers import ENVIRONMENT
from tests.integration.relying.judging import listed, plant
from tests.integration.relying.test_apache import apache
from tests.integration.relying.test_haproxy import haproxy
from tests.integration.relying.test_java import classes, java
from tests.integration.relying.test_stunnel import stunnel

__all__ = ["apache", "classes", "haproxy", "java", "stunnel"]

SITUATIONS = ("good", "deactivated", "source down", "stale", "wrong signer")
Source = Literal["ocsp", "crl", "either", "file"]
"""Where a party looks; a ``file`` is what fetch-crls.sh left."""
ASKED: dict[Source, tuple[str, ...]] = {
    "ocsp": ("ocsp",),
    "crl": ("crl",),
    "either": ("ocsp", "crl"),
    "file": (),
}
PATHS = {"ocsp": "/pki/ocsp", "crl": "/pki/crl/issuing.crl"}
Accepts = Callable[[Delivered], bool]
Open = Callable[["Scene"], contextlib.AbstractContextManager[Accepts]]


@dataclass(frozen=True, slots=True)
class Scene:
    relied: Relied
    crls: Path
    request: pytest.FixtureRequest


@dataclass(frozen=True, slots=True)
class Party:
    name: str
    by: str
    source: Source
    open: Open


def server(fixture: str, *arguments: str) -> Open:
    @contextlib.contextmanager
    def opened(scene: Scene) -> Iterator[Accepts]:
        with scene.request.getfixturevalue(fixture)(*arguments) as running:
            yield lambda store: scene.relied.visitor(running.port, store).visit().accepted

    return opened


def client(ask: Callable[[Relied, Delivered, int], str]) -> Open:
    """A client of nginx, and what it shows of the page behind: for a good store, its holder's number."""

    @contextlib.contextmanager
    def opened(scene: Scene) -> Iterator[Accepts]:
        with scene.request.getfixturevalue("nginx")("ocsp.conf") as running:

            def accepts(store: Delivered) -> bool:
                shown = ask(scene.relied, store, running.port)
                number = re.search(r'"x-ehealthid": "(\d+)"', shown)
                assert number is None or number.group(1) == store.number
                assert number is not None or "400" in shown
                return number is not None

            yield accepts

    return opened


def curl(relied: Relied, store: Delivered, port: int) -> str:
    trusting = f"curl --silent --show-error --cacert {relied.folder}/server.pem "
    command = block("relying-services/curl.md", "curl").filled(
        {"service.example.org": f"localhost:{port}", "curl ": trusting}
    )
    return bash(command, store.folder).stdout


def chromium(_: Relied, store: Delivered, port: int) -> str:
    """Its policies lie in /etc: a mount namespace of its own has some, and this machine none of them."""
    page = "relying-services/curl.md"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        managed = Path(folder, "policies", "managed")
        managed.mkdir(parents=True)
        (managed / "mycert.json").write_text(
            block(page, "chromium-policy.json").filled(
                {"https://service.example.org": f"https://localhost:{port}"}
            )
        )
        home = {"HOME": folder}
        imported = bash(block(page, "chromium-import").text, store.folder, home)
        assert imported.returncode == 0, imported.stdout + imported.stderr
        script = (
            f"mkdir -p /etc/chromium/policies; mount --bind {folder}/policies /etc/chromium/policies; "
            "exec timeout 180 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage "
            f"--ignore-certificate-errors --user-data-dir={folder}/profile --dump-dom https://localhost:{port}/"
        )
        done = bash(f"exec unshare --map-root-user --mount bash -euc '{script}'", store.folder, home)
        assert done.stdout, done.stderr[-2000:]
        return done.stdout


def bash(
    command: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euc", command],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT | (environment or {}),
    )


def certvalidator(name: str) -> Open:
    """A function ``validate`` of the page's block."""

    @contextlib.contextmanager
    def opened(scene: Scene) -> Iterator[Accepts]:
        page: dict[str, Any] = {}
        for source in dict.fromkeys(("certvalidator.py", name)):
            text = block("relying-services/clients.md", source).text
            exec(compile(text, source, "exec"), page)  # noqa: S102 - that is what pages are for
        folder = scene.relied.folder

        def accepts(store: Delivered) -> bool:
            files = (store.folder / "cert.pem", folder / "root.pem", folder / "issuing.pem")
            try:
                number = asyncio.run(page["validate"](*map(str, files)))
            except ValidationError:
                return False
            assert number == store.number
            return True

        yield accepts

    return opened


PARTIES = (
    Party("nginx", "`ssl_ocsp leaf`", "ocsp", server("nginx", "ocsp.conf")),
    Party("nginx", "`ssl_crl`", "file", server("nginx", "crl.conf")),
    Party("Apache", "`SSLOCSPEnable leaf`", "ocsp", server("apache", "ocsp.conf")),
    Party("Apache", "`SSLCARevocationCheck chain`", "file", server("apache", "crl.conf")),
    Party("HAProxy", "`crl-file`", "file", server("haproxy")),
    Party("stunnel", "`OCSPaia`", "ocsp", server("stunnel", "ocsp.conf")),
    Party("stunnel", "`CRLpath`", "file", server("stunnel", "crl.conf")),
    Party("Java", "PKIX with OCSP", "ocsp", server("java", "ocsp")),
    Party("Java", "PKIX with CRLDP", "crl", server("java", "crl")),
    Party("pyhanko-certvalidator", "`require`", "either", certvalidator("certvalidator-require.py")),
    Party("pyhanko-certvalidator", "`OCSP_REQUIRED`", "ocsp", certvalidator("certvalidator.py")),
    Party("curl", "the server's OCSP", "ocsp", client(curl)),
    Party("Chromium", "the server's OCSP", "ocsp", client(chromium)),
)
AT_ONCE = {("nginx", "ocsp"), ("nginx", "file"), ("Java", "ocsp"), ("curl", "ocsp")}
"""Those that are fast; the others are for the long run."""


def table() -> dict[tuple[str, str], dict[str, str]]:
    """The page's: (party, by) → situation → verdict."""
    lines = (DOCS / "relying-services/README.md").read_text().splitlines()
    start = next(
        number for number, line in enumerate(lines) if line.endswith(f"| {' | '.join(SITUATIONS)} |")
    )
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, by, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[re.sub(r"\[(.*?)\].*", r"\1", name), by] = dict(zip(SITUATIONS, cells, strict=True))
    return rows


@pytest.fixture(scope="module")
def gone(relied: Relied, tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    """A store whose deactivation OCSP and the CRL tell of."""
    leaving = relied.deliver()
    leaving.deactivate()
    serial = leaving.certificate.serial_number
    request = CertId.of(relied.issuing, serial, "sha1").request
    crls = tmp_path_factory.mktemp("gone") / "crls.pem"

    def told() -> bool:
        answer = load_der_ocsp_response(httpx.post(f"{relied.url}/pki/ocsp", content=request).content)
        known = answer.response_status is OCSPResponseStatus.SUCCESSFUL
        return known and answer.certificate_status is OCSPCertStatus.REVOKED and listed(relied, crls, serial)

    until(told, "the deactivation is not told")
    return leaving


def lies(relied: Relied, situation: str) -> list[dict[str, Lie]]:
    """What is planted, one after the other, wherever a party asks."""
    if situation == "stale":
        return [{kind: relied.stale(kind) for kind in PATHS}]
    crl = relied.crl_by_stranger
    return [{"ocsp": relied.by_stranger, "crl": crl}, {"ocsp": relied.by_professional, "crl": crl}]


def verdict(scene: Scene, party: Party, situation: str, gone: Delivered) -> str:
    """Each time a fresh process: nobody remembers what another situation was like."""
    relied, front = scene.relied, scene.relied.front
    if situation == "good":
        return said(scene, party, relied.good)
    if situation == "deactivated":
        return said(scene, party, gone)
    if situation == "source down":
        with front.down():
            return without_source(scene, party, gone) if party.source == "file" else said(scene, party)
    found = set()
    for lie in lies(relied, situation):
        with contextlib.ExitStack() as stack:
            if party.source == "file":
                plant(relied, scene.crls, lie["crl"](b""))
            for kind in ASKED[party.source]:
                stack.enter_context(front.lying(PATHS[kind], lie[kind]))
            asked = len(front.asked)
            found.add(said(scene, party))
            assert party.source == "file" or len(front.asked) > asked, "nobody was asked"
    (only,) = found
    return only


def said(scene: Scene, party: Party, store: Delivered | None = None) -> str:
    with party.open(scene) as accepts:
        return "accepted" if accepts(store or scene.relied.good) else "refused"


def without_source(scene: Scene, party: Party, gone: Delivered) -> str:
    """What was loaded stays in force, and the script tells of it; who never had a CRL admits nobody."""
    assert scene.relied.fetch_crls(scene.crls, check=False).returncode == 1
    assert said(scene, party, gone) == "refused"
    assert said(scene, party) == "accepted"
    scene.crls.write_bytes(scene.crls.with_name("crls.pem.root").read_bytes())
    assert said(scene, party) == "refused"
    return "until the CRL ends"


@pytest.mark.parametrize(
    "party",
    [
        pytest.param(
            party,
            id=f"{party.name} {party.by}",
            marks=() if (party.name, party.source) in AT_ONCE else pytest.mark.slow,
        )
        for party in PARTIES
    ],
)
def test_verdicts(
    relied: Relied, gone: Delivered, crls: Path, party: Party, request: pytest.FixtureRequest
) -> None:
    scene = Scene(relied, crls, request)
    kept = crls.read_bytes()
    found = {}
    for situation in SITUATIONS:
        found[situation] = verdict(scene, party, situation, gone)
        crls.write_bytes(kept)
    assert found == table()[party.name, party.by]


def test_the_table_has_a_row_for_each_party() -> None:
    assert set(table()) == {(party.name, party.by) for party in PARTIES}
