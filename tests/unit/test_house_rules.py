"""Rules of the house that no linter can state; exceptions stand here, with their reason."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("policies/", "hsm/", "issuer/", "api/")
LINES_AT_MOST = 350

# A secret is shown in the clear at these places and nowhere else: how often in the module, and for what.
REVEALED: dict[str, tuple[int, str]] = {
    "api/journey/codes.py": (2, "the key of the codes' HMAC, measured when read, used when hashing"),
    "api/portal/provider.py": (1, "the client's secret, to the identity provider"),
    "api/mail/transport.py": (1, "the mail server's password"),
    "hsm/cryptoki.py": (1, "a PIN, handed to the module"),
}


@cache
def tracked_files() -> tuple[Path, ...]:
    # The checkout may belong to somebody else than who runs the tests.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT / name for name in listing.split("\0") if name]
    return tuple(path for path in files if path.is_file())


def modules(folders: tuple[str, ...] = PACKAGES) -> dict[str, ast.Module]:
    names = {str(path.relative_to(ROOT)): path for path in tracked_files() if path.suffix == ".py"}
    return {
        name: ast.parse(path.read_bytes(), name) for name, path in names.items() if name.startswith(folders)
    }


def method_calls(module: ast.Module, method: str) -> int:
    return sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method
        for node in ast.walk(module)
    )


def test_there_is_something_to_look_at() -> None:
    assert len(modules()) > 20


def test_secrets_are_revealed_only_where_listed() -> None:
    found = Counter({name: method_calls(module, "reveal") for name, module in modules().items()})
    assert dict(+found) == {name: count for name, (count, _) in REVEALED.items()}


def test_no_module_is_too_long_for_one_idea() -> None:
    lengths = {
        str(path.relative_to(ROOT)): path.read_bytes().count(b"\n")
        for path in tracked_files()
        if path.suffix in {".py", ".sh"} and not path.is_relative_to(ROOT / "tests")
    }
    assert {name: length for name, length in lengths.items() if length > LINES_AT_MOST} == {}


def test_schemas_come_from_migrations() -> None:
    assert [name for name, module in modules().items() if method_calls(module, "create_all")] == []


def test_the_keystore_template_loads_neither_token_nor_database() -> None:
    # A package's __init__ is loaded with every module in it, which import-linter leaves out.
    program = "import sys, issuer.issuance.keystore.template; print(*sys.modules)"
    command = [sys.executable, "-P", "-c", program]
    loaded = subprocess.run(
        command, check=True, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    ).stdout.split()
    assert "issuer.issuance.keystore.template" in loaded
    unwanted = {
        "hsm",
        "pkcs11",
        "sqlalchemy",
        "psycopg",
        "litestar",
        "httpx",
        "uvicorn",
        "structlog",
        "asyncio",
    }
    assert unwanted & {name.split(".")[0] for name in loaded} == set()


@pytest.mark.parametrize("process", ["web", "mailer", "status", "demo"])
def test_a_process_without_a_token_does_not_load_pkcs11(process: str) -> None:
    program = f"import sys, api.cli.serve, api.start.{process}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pkcs11", "hsm.token", "hsm.module"} & set(loaded.stdout.split())


def test_what_is_imported_is_declared() -> None:
    runtime = declared("runtime.in")
    assert undeclared(PACKAGES, runtime) == set()
    assert undeclared(("tests/",), runtime | declared("dev.in")) == set()


def declared(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {re.split(r"[^\w-]", line)[0] for line in lines if line and not line.startswith(("#", "-"))}


def undeclared(folders: tuple[str, ...], allowed: set[str]) -> set[str]:
    tops = {
        name.split(".")[0]
        for module in modules(folders).values()
        for node in ast.walk(module)
        for name in imported(node)
    }
    foreign = {top for top in tops - set(sys.stdlib_module_names) if f"{top}/" not in (*PACKAGES, "tests/")}
    distributions = importlib.metadata.packages_distributions()
    return {top for top in foreign if not allowed & {normal(one) for one in distributions.get(top, ())}}


def imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(name), level=0):
            return [name]
        case _:
            return []


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_where_packages_come_from_is_the_machines_own_affair() -> None:
    set_up = ("requirements/", "scripts/", ".ci/", "Makefile", "pyproject.toml", "package")
    named = {
        name: address
        for name, content in contents().items()
        for address in re.findall(rb"https?://(?!127[.]0[.]0[.]1|localhost)[^\s'\"]+", content)
        if name.startswith(set_up)
    }
    assert named == {}
    # The brackets keep the pattern from finding itself.
    assert matches(rb"--(extra-)?index-ur[l]|find-link[s]|\"resolved\": *\"http|registry *= *\"http") == {}


def test_no_file_names_this_checkouts_path() -> None:
    assert matches(re.escape(str(ROOT)).encode() + rb"(?![\w.-])") == {}


def contents() -> dict[str, bytes]:
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in tracked_files()}


def matches(pattern: bytes) -> dict[str, bytes]:
    found = {name: re.search(pattern, content) for name, content in contents().items()}
    return {name: match[0] for name, match in found.items() if match}
