"""docs/relying-services/curl.md: a delivered file in curl and in Chromium, against nginx."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.pages import block
from tests.fixtures.relying import Delivered, Relied
from tests.fixtures.servers import ENVIRONMENT
from tests.integration.relying.test_nginx import Start, nginx

PAGE = "relying-services/curl.md"

__all__ = ["nginx"]


def curl(relied: Relied, store: Delivered, port: int) -> subprocess.CompletedProcess[str]:
    trusting = f"curl --silent --show-error --cacert {relied.folder}/server.pem "
    command = block(PAGE, "curl").filled({"service.example.org": f"localhost:{port}", "curl ": trusting})
    return subprocess.run(
        ["bash", "-euc", command],
        check=False,
        capture_output=True,
        text=True,
        cwd=store.folder,
        env=ENVIRONMENT,
    )


def test_curl(relied: Relied, nginx: Start) -> None:
    leaving = relied.deliver()
    with nginx("ocsp.conf") as server:
        assert json.loads(curl(relied, relied.good, server.port).stdout)["x-ehealthid"] == relied.good.number
        assert json.loads(curl(relied, leaving, server.port).stdout)["x-ehealthid"] == leaving.number
        leaving.deactivate()
        relied.until_refused(relied.visitor(server.port, leaving))
        assert "400" in curl(relied, leaving, server.port).stdout


@pytest.mark.slow
def test_chromium(relied: Relied, nginx: Start, tmp_path: Path) -> None:
    """Its policies lie in /etc: a mount namespace of its own has some, and this machine none of them."""
    leaving = relied.deliver()
    home = tmp_path / "home"
    home.mkdir()
    with nginx("ocsp.conf") as server:
        policies = block(PAGE, "chromium-policy.json").filled(
            {"https://service.example.org": f"https://localhost:{server.port}"}
        )
        managed = tmp_path / "policies" / "managed"
        managed.mkdir(parents=True)
        (managed / "mycert.json").write_text(policies)

        def page(store: Delivered) -> str:
            folder = home / store.number
            folder.mkdir()
            imported = subprocess.run(
                ["bash", "-euc", block(PAGE, "chromium-import").text],
                check=False,
                capture_output=True,
                text=True,
                cwd=store.folder,
                env=ENVIRONMENT | {"HOME": str(folder)},
            )
            assert imported.returncode == 0, imported.stdout + imported.stderr
            script = (
                f"mkdir -p /etc/chromium/policies; mount --bind {tmp_path}/policies /etc/chromium/policies; "
                "exec timeout 60 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage "
                f"--ignore-certificate-errors --user-data-dir={folder}/profile --dump-dom "
                f"https://localhost:{server.port}/"
            )
            done = subprocess.run(
                ["unshare", "--map-root-user", "--mount", "bash", "-euc", script],
                check=False,
                capture_output=True,
                text=True,
                env=ENVIRONMENT | {"HOME": str(folder)},
            )
            assert done.stdout, done.stderr[-2000:]
            return done.stdout

        def seen(dom: str) -> str | None:
            found = re.search(r'"x-ehealthid": "(\d+)"', dom)
            return found.group(1) if found else None

        assert seen(page(relied.good)) == relied.good.number
        leaving.deactivate()
        relied.until_refused(relied.visitor(server.port, leaving))
        refused = page(leaving)
        assert seen(refused) is None
        assert "400" in refused
