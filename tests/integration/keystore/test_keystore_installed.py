"""The template finds its code wherever it lies, and finds no attacks where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.fixtures.processes import MAY_BE_MISSING

ROOT = Path(__file__).parents[3]
START = """
import sys, issuer
from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.keeper import TemplateKeeper
config = KeystoreConfig(allow_missing=tuple(filter(None, sys.argv[1].split(","))))
keeper = TemplateKeeper(config.limits(), tuple(sys.argv[2:]))
keeper.start()
keeper.close()
print(issuer.__file__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site folder of a fresh virtual environment that sees the libraries of this one."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, symlinks=True)
    folder = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    (folder / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def start(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    python = site.parents[2] / "bin" / "python"
    return subprocess.run(
        [python, "-c", START, ",".join(MAY_BE_MISSING), *arguments],
        # A working directory that would take the package's place, if it were looked at.
        cwd=ROOT / "tests" / "integration",
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def test_in_a_site_folder(site: Path) -> None:
    for package in ("issuer", "policies", "hsm"):
        shutil.copytree(ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    result = start(site)
    assert result.stdout.strip() == str(site / "issuer" / "__init__.py"), result.stderr
    refused = start(site, "--attacks")
    assert refused.returncode != 0
    assert "No module named 'tests" in refused.stderr
    for package in ("issuer", "policies", "hsm"):
        shutil.rmtree(site / package)


def test_in_a_checkout_installed_in_place(site: Path) -> None:
    pointer = site / "checkout.pth"
    pointer.write_text(f"{ROOT}\n")
    result = start(site)
    pointer.unlink()
    assert result.stdout.strip() == str(ROOT / "issuer" / "__init__.py"), result.stderr
