"""docs/relying-services/stunnel.md: its blocks in a real stunnel."""

from __future__ import annotations

import contextlib
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.pages import block
from tests.fixtures.relying import Relied
from tests.fixtures.servers import Server, free_port, serving
from tests.integration.relying.judging import judge_by_crl, judge_by_ocsp, judge_sessions, roll_over

PAGE = "relying-services/stunnel.md"
Start = Callable[..., contextlib.AbstractContextManager[Server]]
pytestmark = pytest.mark.slow


@pytest.fixture
def stunnel(relied: Relied, crls: Path, tmp_path: Path) -> Start:
    @contextlib.contextmanager
    def start(name: str) -> Iterator[Server]:
        port = free_port()
        places: dict[str, object] = {
            "accept = 443": f"accept = 127.0.0.1:{port}",
            "127.0.0.1:8080": f"127.0.0.1:{relied.behind.port}",
            "/etc/stunnel/server": relied.folder / "server",
            "/etc/stunnel/mycert/trust.pem": relied.trust,
        }
        if name == "crl.conf":
            places["/etc/stunnel/mycert/crls"] = lay_out(crls)
        (tmp_path / name).write_text(
            f"foreground = yes\npid = {tmp_path}/pid\n" + block(PAGE, name).filled(places)
        )
        with serving(["stunnel4", str(tmp_path / name)], port, tmp_path) as server:
            yield server

    return start


def lay_out(crls: Path) -> Path:
    """What is in the file, as a folder of one CRL a file."""
    folder = crls.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for pem in re.findall(b"-----BEGIN.*?-----END X509 CRL-----\n", crls.read_bytes(), re.S):
        named = ["openssl", "crl", "-noout", "-hash"]
        name = subprocess.run(named, input=pem, check=True, capture_output=True).stdout.decode().strip()
        (folder / f"{name}.r0").write_bytes(pem)
    return folder


@pytest.fixture
def reload(tmp_path: Path) -> tuple[str, ...]:
    assert block(PAGE, "roll-over").text.rstrip().endswith("crls.pem add-crls.sh")
    return "bash", "-c", block(PAGE, "add-crls.sh").filled({"/etc/stunnel/mycert": tmp_path})


def test_ocsp_aia(relied: Relied, stunnel: Start) -> None:
    with stunnel("ocsp.conf") as server:
        judge_by_ocsp(relied, server)


def test_crl(relied: Relied, stunnel: Start, crls: Path, reload: tuple[str, ...]) -> None:
    with stunnel("crl.conf") as server:
        judge_by_crl(relied, server, crls, lambda: relied.fetch_crls(crls, *reload))


def test_roll_over_refuses_nobody(
    relied: Relied, stunnel: Start, crls: Path, reload: tuple[str, ...]
) -> None:
    with stunnel("crl.conf") as server:
        roll_over(relied, server, crls, reload)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
@pytest.mark.parametrize("name", ["ocsp.conf", "crl.conf"])
def test_no_session_outlives_a_deactivation(
    relied: Relied, stunnel: Start, crls: Path, reload: tuple[str, ...], name: str, newest: ssl.TLSVersion
) -> None:
    with stunnel(name) as server:
        judge_sessions(relied, server, crls, newest, lambda: relied.fetch_crls(crls, *reload))
