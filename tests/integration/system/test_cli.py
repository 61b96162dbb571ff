"""The officers' command: shapes, exit statuses, dry runs, PINs; and docs/officers.md, command by command."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import pty
import re
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from api.cli import cli
from tests.fixtures.pages import DOCS, block, blocks
from tests.fixtures.system import MYCERT, PATIENCE, System, free_ports

CHECKOUT = Path(__file__).parents[3]
DONE, FOUND, WRONG_USE, UNREACHABLE = 0, 1, 2, 3


@dataclass(frozen=True)
class Quiet:
    """An installation of which nothing runs."""

    home: Path
    environment: dict[str, str]

    def mycert(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(MYCERT), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
        )

    def told(self, *arguments: str, **environment: str) -> Any:
        done = self.mycert("--json", *arguments, **environment)
        assert done.returncode == DONE, done.stderr
        return json.loads(done.stdout)

    def digests(self) -> dict[str, str]:
        """Of every file but locks and logs, and SoftHSM's notes of who logged in when."""
        return {
            str(path.relative_to(self.home)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.home.rglob("*")
            if path.is_file() and path.suffix not in (".lock", ".log") and path.name != "token.object"
        }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Quiet:
    """Made with PINs that are known beforehand, while somebody watched every process' arguments."""
    home = tmp_path_factory.mktemp("quiet")
    port = free_ports(4)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MYCERT_")}
    environment |= {"MYCERT_HOME": str(home), "MYCERT_PORT": str(port)}
    quiet = Quiet(home, environment)
    (home / "secrets").mkdir(mode=0o700)
    for name in ("root", "issuing", "status"):
        for kind in ("pin", "so.pin"):
            path = home / "secrets" / f"{name}.{kind}"
            path.touch(mode=0o600)
            path.write_text(f"canary-{name}-{kind}")
    with Watching("canary-") as seen:
        done = quiet.mycert("demo", "setup")
        assert done.returncode == DONE, done.stderr
        checked = quiet.mycert("hsm", "check")
    assert checked.returncode == DONE, checked.stderr
    assert seen == []
    assert "canary-" not in done.stdout + done.stderr + checked.stdout + checked.stderr
    return quiet


@pytest.fixture
def quiet(prepared: Quiet) -> Quiet:
    return prepared


class Watching:
    """Collects whatever process has ``word`` in its arguments or environment."""

    def __init__(self, word: str) -> None:
        self._word = word.encode()
        self._stop = threading.Event()
        self._found: list[str] = []
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> list[str]:
        self._thread.start()
        return self._found

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        said = (process / name).read_bytes()
                    except OSError:
                        continue
                    if self._word in said:
                        self._found.append(f"{process}/{name}: {said!r}")


def all_commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, *path, name)


COMMANDS = dict(all_commands(cli))


def test_the_contract_s_first_commands_exist() -> None:
    first = (
        "hsm status, hsm list, hsm check, ceremony run, crl issue, crl verify, store list, store show, "
        "store revoke, db upgrade, db check, serve, web, issuer, publisher, status"
    )
    assert {tuple(name.split()) for name in first.split(", ")} <= COMMANDS.keys()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        # A folder of PIN files is named by its path; a PIN by nothing at all.
        assert "pin" not in (parameter.name or "") or parameter.name == "so_pin_folder"


def test_what_changes_something_has_a_dry_run() -> None:
    for path in ("setup", "hsm init", "ceremony run", "crl issue", "store revoke", "db upgrade"):
        names = {parameter.name for parameter in COMMANDS[tuple(path.split())].params}
        assert "dry_run" in names, path


def test_shapes_of_hsm(quiet: Quiet) -> None:
    status = quiet.told("hsm", "status")["tokens"]
    assert [(row["token"], row["state"], row["keys"]) for row in status] == [
        ("root", "ready", 1),
        ("issuing", "ready", 1),
        ("status", "ready", 1),
    ]
    assert all(row.keys() == {"token", "label", "module", "state", "keys"} for row in status)
    keys = quiet.told("hsm", "list")["keys"]
    assert [(row["token"], row["label"], row["type"], row["sound"], row["findings"]) for row in keys] == [
        ("root", "root", "p-384", True, None),
        ("issuing", "issuing", "p-384", True, None),
        ("status", "ocsp", "p-256", True, None),
    ]
    checks = quiet.told("hsm", "check")["checks"]
    assert [(row["token"], row["label"], row["result"]) for row in checks] == [
        ("root", "root", "ok"),
        ("issuing", "issuing", "ok"),
        ("status", "ocsp", "ok"),
    ]


def test_shapes_of_db(quiet: Quiet) -> None:
    current = {"registry": "current", "journey": "current"}
    assert quiet.told("db", "check") == quiet.told("db", "upgrade") == current


def test_shapes_of_stores_and_crls(system: System) -> None:
    doctor = system.person("3331110001")
    doctor.obtain("officers@example.com")
    wanted = ("store", "list", "--ehealth-id", "3331110001", "--status", "active")
    (store,) = json.loads(system.mycert("--json", *wanted).stdout)["items"]
    own = doctor.active_store()
    assert store["id"] == own["id"]
    assert store.keys() >= {
        "status",
        "ehealth_id",
        "email",
        "serial_number",
        "not_after",
        "reason",
        "delivered",
    }
    assert not {"password", "keystore", "code"} & store.keys()
    shown = json.loads(system.mycert("--json", "store", "show", store["id"]).stdout)
    assert shown == store
    plain = store["serial_number"].upper()
    for serial in (plain, ":".join(plain[at : at + 2] for at in range(0, len(plain), 2))):
        by_serial = system.mycert("--json", "store", "list", "--serial", serial)
        assert json.loads(by_serial.stdout)["items"] == [store]

    number = crl_number(system)
    planned = json.loads(system.mycert("--json", "crl", "issue", "--dry-run").stdout)
    assert planned == {"authority": "issuing", "number": None}
    assert crl_number(system) == number
    issued = json.loads(system.mycert("--json", "crl", "issue").stdout)
    assert issued["authority"] == "issuing"
    assert issued["number"] > number
    with sqlite3.connect(system.home / "data/registry/registry.db") as registry:
        query = "SELECT actor FROM audit_events WHERE object_id = ?"
        ((actor,),) = registry.execute(query, [f"issuing/{issued['number']}"])
    registry.close()
    assert actor == f"officer:{os.environ.get('SUDO_USER') or getpass.getuser()}"
    assert json.loads(system.mycert("--json", "crl", "verify").stdout) == {"differences": []}

    revoke = ("--json", "store", "revoke", "--reason", "right-withdrawn")
    would = json.loads(system.mycert(*revoke, "--dry-run", store["id"]).stdout)["items"]
    assert [one["id"] for one in would] == [store["id"]]
    assert doctor.active_store()["id"] == store["id"]
    both_or_none = system.mycert(*revoke, store["id"], "0b54e6a6-0d0f-4c5f-8f27-0d7c1f6d2c11", check=False)
    assert both_or_none.returncode == WRONG_USE
    assert doctor.active_store()["id"] == store["id"]
    (done,) = json.loads(system.mycert(*revoke, store["id"]).stdout)["items"]
    assert (done["status"], done["reason"]) == ("revoked", "right-withdrawn")
    (seen,) = [one for one in doctor.call("GET", "/stores").json()["items"] if one["id"] == store["id"]]
    assert seen["status"] == "revoked"
    again = system.mycert(*revoke, store["id"], check=False)
    assert again.returncode == WRONG_USE


def crl_number(system: System) -> int:
    asked = ["openssl", "crl", "-inform", "DER", "-noout", "-crlnumber"]
    der = system.http.get("/pki/crl/issuing.crl").content
    said = subprocess.run(asked, input=der, check=True, capture_output=True).stdout.decode()
    return int(said.partition("=")[2], 16)


@pytest.mark.parametrize(
    "arguments",
    [
        "nothing",
        "store revoke x",
        "store revoke --reason owner-s-whim x",
        "store list --limit 0",
        "store list --serial 0x1g",
        "ceremony run no-such-file.toml",
        "ceremony run {checkout}/pyproject.toml",
        "ceremony run {checkout}/issuer/ceremony/demo.toml",
        "hsm init --so-pin-folder {home}/secrets elsewhere",
        "--config {checkout}/pyproject.toml db check",
        "--config no-such-file.toml db check",
    ],
)
def test_wrong_use_is_2(quiet: Quiet, arguments: str) -> None:
    done = quiet.mycert(*arguments.format(checkout=CHECKOUT, home=quiet.home).split())
    assert done.returncode == WRONG_USE, done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize(
    "environment",
    [
        {"MYCERT_PORT": "abc"},
        {"MYCERT_ISSUANCE__BOUND": "120"},
        {"MYCERT_ISSUANCE__INSTANCE": "x" * 37},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_wrong_use(quiet: Quiet, environment: dict[str, str]) -> None:
    done = quiet.mycert("db", "check", **environment)
    assert done.returncode == WRONG_USE, done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_issuer_does_not_know_is_wrong_use(system: System) -> None:
    for arguments in (
        "store show nobody-s",
        "crl issue --authority root",
        "crl issue --authority root --dry-run",
        "store revoke --reason incident x",
    ):
        done = system.mycert(*arguments.split(), check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (WRONG_USE, False), done.stderr


def test_a_second_service_in_one_home_is_wrong_use(system: System) -> None:
    done = system.mycert("serve", check=False)
    assert done.returncode == WRONG_USE, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ("store list", {}),
        ("store show x", {}),
        ("store revoke --reason incident x", {}),
        ("crl issue", {}),
        ("hsm list", {"MYCERT_HSM__ISSUING__LABEL": "gone"}),
        ("db check", {"MYCERT_DATABASE__REGISTRY": "postgresql+psycopg://nobody@127.0.0.1:1/none"}),
        ("crl verify", {"MYCERT_DATABASE__REGISTRY": "postgresql+psycopg://nobody@127.0.0.1:1/none"}),
    ],
)
def test_not_reachable_is_3(quiet: Quiet, arguments: str, environment: dict[str, str]) -> None:
    done = quiet.mycert(*arguments.split(), **environment)
    assert done.returncode == UNREACHABLE, done.stderr
    assert "Traceback" not in done.stderr


def test_findings_are_1(quiet: Quiet, tmp_path: Path) -> None:
    done = quiet.mycert("--json", "hsm", "status", MYCERT_HSM__ISSUING__LABEL="gone")
    assert done.returncode == FOUND
    states = {row["token"]: row["state"] for row in json.loads(done.stdout)["tokens"]}
    assert states["root"] == states["status"] == "ready"
    assert states["issuing"] != "ready"
    assert quiet.mycert("hsm", "check", MYCERT_HSM__ISSUING__LABEL="gone").returncode == FOUND

    # Nothing has been published here yet, and that is a difference.
    done = quiet.mycert("--json", "crl", "verify")
    assert done.returncode == FOUND
    (difference,) = json.loads(done.stdout)["differences"]
    assert difference == {"where": "crl", "difference": "none is published"}

    fresh = {"MYCERT_DATABASE__JOURNEY": f"sqlite:///{tmp_path}/journey.db"}
    done = quiet.mycert("--json", "db", "check", **fresh)
    assert done.returncode == FOUND
    assert json.loads(done.stdout) == {"registry": "current", "journey": "not at the newest revision"}


def test_a_weak_key_is_found(quiet: Quiet, tmp_path: Path) -> None:
    """A key that could be copied out, made by other means on a token of its own."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    pin = tmp_path / "weak.pin"
    pin.touch(mode=0o600)
    pin.write_text("1234")
    environment = quiet.environment | {"SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}
    key = tmp_path / "key.pem"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)]
    subprocess.run(make, check=True, capture_output=True)
    token = ["softhsm2-util", "--token", "weak", "--pin", "1234"]
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "weak", "--pin", "1234", "--so-pin", "1234"],
        check=True,
        capture_output=True,
        env=environment,
    )
    imported = [*token, "--import", str(key), "--label", "weak", "--id", "01"]
    subprocess.run(imported, check=True, capture_output=True, env=environment)
    done = quiet.mycert(
        *("--json", "hsm", "check"),
        MYCERT_HSM__ROOT__LABEL="weak",
        MYCERT_HSM__ROOT__PIN_FILE=str(pin),
        MYCERT_HSM__ROOT__ENVIRONMENT=json.dumps({"SOFTHSM2_CONF": environment["SOFTHSM2_CONF"]}),
    )
    assert done.returncode == FOUND, done.stderr
    (weak,) = [row for row in json.loads(done.stdout)["checks"] if row["token"] == "root"]
    assert weak["result"] != "ok"


def test_dry_runs_change_nothing(quiet: Quiet, tmp_path: Path) -> None:
    script = tmp_path / "root-crl.toml"
    # Under a name of its own: a ceremony that has been held is not even planned again.
    script.write_text(block("officers.md", "root-crl.toml").text.replace("root-crl-2027", "never-held"))
    before = quiet.digests()
    operators = ("--operator", "anne.muller", "--operator", "paul.weber")
    record = quiet.told("ceremony", "run", str(script), *operators, "--dry-run")
    assert record["finished_at"] is None
    (step,) = record["steps"]
    assert (step["output"], step["signed_by"]) == ("root.crl", "root")
    quiet.told("hsm", "init", "--so-pin-folder", f"{quiet.home}/secrets", "root", "--dry-run")
    fresh = f"sqlite:///{tmp_path}/registry.db"
    planned = quiet.told("db", "upgrade", "--dry-run", MYCERT_DATABASE__REGISTRY=fresh)
    assert planned == {"registry": "would be upgraded", "journey": "current"}
    assert not (tmp_path / "registry.db").exists()
    assert quiet.digests() == before
    assert quiet.told("db", "upgrade", MYCERT_DATABASE__REGISTRY=fresh)["registry"] == "upgraded"
    with sqlite3.connect(tmp_path / "registry.db") as database:
        assert database.execute("SELECT count(*) FROM stores").fetchone() == (0,)
    database.close()


def test_a_ceremony_needs_its_people_and_runs_once(quiet: Quiet, tmp_path: Path) -> None:
    script = tmp_path / "root-crl.toml"
    script.write_text(block("officers.md", "root-crl.toml").text)
    alone = quiet.mycert("ceremony", "run", str(script), "--operator", "anne.muller")
    assert alone.returncode == WRONG_USE
    assert "2 operators are needed" in alone.stderr
    operators = ("--operator", "anne.muller", "--operator", "paul.weber")
    record = quiet.told("ceremony", "run", str(script), *operators)
    assert record["operators"] == ["anne.muller", "paul.weber"]
    assert record["finished_at"] is not None
    assert record["script_sha256"] == hashlib.sha256(script.read_bytes()).hexdigest()
    assert json.loads((quiet.home / "pki" / "ceremony-root-crl-2027.json").read_bytes())["steps"]
    assert (quiet.home / "pki" / "ceremony-root-crl-2027.json.sig").exists()
    assert quiet.mycert("ceremony", "run", str(script), *operators).returncode == WRONG_USE


@pytest.mark.parametrize(("typed", "status"), [("canary-root-pin", DONE), ("wrong", WRONG_USE)])
def test_a_pin_without_a_file_is_asked_for(quiet: Quiet, tmp_path: Path, typed: str, status: int) -> None:
    """At a terminal, without an echo; where there is none, the command says what is missing."""
    config = tmp_path / "mycert.toml"
    text, count = re.subn(r"(?m)^pin_file = .*root\.pin\"\n", "", (quiet.home / "mycert.toml").read_text())
    assert count == 1
    config.write_text(text)
    refused = quiet.mycert("--config", str(config), "hsm", "list")
    assert refused.returncode == WRONG_USE
    assert "pin_file" in refused.stderr

    ours, theirs = pty.openpty()
    with Watching("canary-root-pin") as seen:
        process = subprocess.Popen(
            [str(MYCERT), "--config", str(config), "hsm", "list"],
            env=quiet.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        said = _until(ours, b"myCert root")
        os.write(ours, typed.encode() + b"\n")
        said += _until(ours, None)
        assert process.wait(PATIENCE) == status, said
    os.close(ours)
    assert typed.encode() not in said
    assert seen == []


def _until(terminal: int, prompt: bytes | None) -> bytes:
    said = b""
    deadline = time.monotonic() + PATIENCE
    while prompt is None or prompt not in said:
        assert time.monotonic() < deadline, said
        try:
            some = os.read(terminal, 4096)
        except OSError:  # its other end is closed
            some = b""
        if not some:
            break
        said += some
    return said


@pytest.mark.parametrize("page", ["officers.md", "auditors.md"])
def test_every_command_of_the_page_works(system: System, tmp_path: Path, page: str) -> None:
    number = {"officers.md": "3331110002", "auditors.md": "3331110003"}[page]
    system.person(number).obtain("page@example.com")
    (tmp_path / "root-crl.toml").write_text(block("officers.md", "root-crl.toml").text)
    (tmp_path / "mycert").symlink_to(MYCERT)
    for folder in ("pki", "data"):
        (tmp_path / folder).symlink_to(system.home / folder)
    commands = [one.text for one in blocks(page, "sh")]
    assert len(commands) >= 8
    script = "set -euo pipefail\n" + "".join(f"{text}\necho '--- done'\n" for text in commands)
    script = script.replace("2221212124", number).replace("scripts/", f"{CHECKOUT}/scripts/")
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=system.environment | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        timeout=600,
    )
    finished = done.stdout.count("--- done\n")
    assert done.returncode == 0, f"{commands[finished]}\n{done.stdout[-2000:]}\n{done.stderr}"
    assert system.mycert("crl", "verify").returncode == DONE
    if page == "auditors.md":
        _check_what_the_auditor_saw(commands, done.stdout.split("--- done\n"))


def _check_what_the_auditor_saw(commands: list[str], outputs: list[str]) -> None:
    """Queries that must print nothing print nothing, and the store's life is told from its beginning."""
    said = dict(zip(commands, outputs, strict=False))
    (cut_short,) = [output for command, output in said.items() if "cut_short" in command]
    (all_of_them, revoked) = cut_short.split("|")
    assert int(all_of_them) == int(revoked)
    empty = [
        out for command, out in said.items() if "count(*) > 1" in command or 'r.serial IS NULL"' in command
    ]
    assert empty == ["", ""]
    assert "Verified OK" in "".join(outputs)
    for action in ("request-created", "request-send-code", "store-issuing", "store-active"):
        assert f"|{action}|" in outputs[-2], outputs[-2]


def test_the_page_names_every_command() -> None:
    page = (DOCS / "officers.md").read_text()
    table = page.partition("| command |")[2].partition("\n\n")[0]
    for path, command in COMMANDS.items():
        demonstration = path[0] in ("demo", "idp", "mailbox")
        if not isinstance(command, click.Group) and not demonstration:
            assert f"`{' '.join(path)}" in table, path
