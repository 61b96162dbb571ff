"""What grows with the number of certificates: CRLs, look-ups, and signing every answer anew."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pkcs11 import Attribute, Mechanism, ObjectClass

from api.status.config import StatusConfig
from api.status.index import Index
from api.status.ocsp import Ocsp
from hsm.token import Token
from issuer.clock import system_clock, system_random
from issuer.issuance.keystore.keypairs import sign
from issuer.publisher.ocsp_request import CertId
from issuer.registry.answers import Answer
from tests.bench.registry import make_site
from tests.fixtures.pki import Pki, profiles
from tests.fixtures.publication import Site, build_site
from tests.fixtures.softhsm import SoftHsm, make_key

SIZES = (1_000, 10_000, 100_000)
RESIGNED = 2_000
RAW = {
    "p-256": (Mechanism.ECDSA, b"d" * 32),
    "rsa-2048": (Mechanism.RSA_PKCS, bytes.fromhex("3031300d060960864801650304020105000420") + b"d" * 32),
}
_LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
"""
_OPENSSL = """
[ca]
default_ca = ours
[ours]
database = {folder}/index.txt
crlnumber = {folder}/number
default_md = sha384
default_crl_days = 7
"""


def crl_size(folder: Path) -> None:
    print("\ncrl-size: one CRL from what is stored: seconds of the processor, peak memory of the process")
    folder.mkdir()
    for size in SIZES:
        site, _ = make_site(folder / str(size), good=0, revoked=size)
        _openssl_files(site, folder / str(size))
        database = str(site.database.url.database)
        site.database.close()
        ours = _child("ours", database)
        builder = _child("builder", database)
        openssl = _openssl(folder / str(size))
        print(
            f"  {size:7,} revoked   ours {_told(ours)}   cryptography's builder {_told(builder)}   "
            f"openssl ca {_told(openssl)}   ours to openssl {ours[0] / openssl[0]:.2f}"
        )


def _told(measured: tuple[float, float]) -> str:
    return f"{measured[0]:6.3f} s {measured[1]:5.0f} MiB"


def _child(kind: str, database: str) -> tuple[float, float]:
    said, memory, _ = _launch(os.getcwd(), sys.executable, "-m", "tests.bench.crl_process", kind, database)
    return float(said), memory


def _launch(folder: str, *command: str) -> tuple[str, float, float]:
    """What it said, its peak memory in MiB, its seconds of the processor.

    By a small process in between: what a process is charged with begins with its parent's memory.
    """
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *command]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        launcher, check=True, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
    )
    *said, memory, seconds = done.stdout.split()
    return said[-1] if said else "", float(memory) / 1024, float(seconds)


def _openssl_files(site: Site, folder: Path) -> None:
    now = datetime.now(UTC)
    at, until = f"{now:%y%m%d%H%M%SZ}", f"{now + timedelta(days=365):%y%m%d%H%M%SZ}"
    with site.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT serial FROM revocations").scalars()
        lines = [f"R\t{until}\t{at},keyCompromise\t{serial.upper()}\tunknown\t/CN=x" for serial in rows]
    (folder / "index.txt").write_text("\n".join(lines) + "\n")
    (folder / "number").write_text("01\n")
    (folder / "openssl.cnf").write_text(_OPENSSL.format(folder=folder))
    key = site.pki.issuing._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "issuing.key").write_bytes(key)


def _openssl(folder: Path) -> tuple[float, float]:
    command = ["openssl", "ca", "-gencrl", "-config", "openssl.cnf", "-keyfile", "issuing.key"]
    command += ["-cert", "pki/issuing.pem", "-out", "openssl.crl"]
    _, memory, seconds = _launch(str(folder), *command)
    return seconds, memory


def look_up() -> None:
    print("\nocsp-size: looking an unknown request up, 1,000 and 100,000 stores")
    issuer = Pki.make(system_clock()).issuing.certificate
    few, many = _look_up(issuer, 1_000), _look_up(issuer, 100_000)
    print(f"  {few * 1e6:.1f} µs and {many * 1e6:.1f} µs, ratio {many / few:.2f}")


def _look_up(issuer: x509.Certificate, count: int) -> float:
    config, now = StatusConfig(), system_clock()
    index = Index(config, time.monotonic)
    serials = [int.from_bytes(system_random(16)) >> 1 for _ in range(count)]
    for serial in serials:
        for name in ("sha1", "sha256"):
            index.put(
                Answer(
                    authority="issuing",
                    serial=f"{serial:x}",
                    hash_algorithm=name,
                    status="good",
                    this_update=now,
                    next_update=now + timedelta(hours=12),
                    answer=b"answer",
                )
            )
    index.followed()
    ocsp = Ocsp(index=index, live=None, issuer=issuer, clock=system_clock)  # type: ignore[arg-type]
    cert_id = CertId.of(issuer, 0, "sha1")
    step = max(1, count // 1_000)
    requests = [
        CertId(
            hash_name="sha1",
            issuer_name_hash=cert_id.issuer_name_hash,
            issuer_key_hash=cert_id.issuer_key_hash,
            serial=serial,
        ).request
        for serial in serials[::step]
    ]

    async def all_of_them() -> None:
        for der in requests:
            assert not isinstance(await ocsp._look_up(der, now.timestamp()), bytes)

    return _best(lambda: asyncio.run(all_of_them())) / len(requests)


def resign(folder: Path) -> None:
    """The raw rate is the token's own signing in one session, as the publisher has; ours verifies too."""
    print(f"\nocsp-resign: all answers for {RESIGNED:,} stores on SoftHSM, one thread, one session")
    for kind in RAW:
        (folder / kind).mkdir(parents=True)
        softhsm = SoftHsm(folder / kind / "softhsm")
        try:
            _resign(softhsm.open(softhsm.initialise()), folder / kind, kind)
        finally:
            softhsm.close()


def _resign(token: Token, folder: Path, kind: str) -> None:
    key = make_key(token, "ocsp", kind)
    mechanism, data = RAW[kind]
    with token._session() as session:
        (raw,) = session.raw.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        bare = _best(lambda: [raw.sign(data, mechanism=mechanism) for _ in range(500)]) / 500
    verified = _best(lambda: [sign(key, b"d" * 400) for _ in range(500)]) / 500
    site, _ = make_site(folder / "registry", good=RESIGNED)
    pki = site.pki
    template = profiles().ocsp.prepare(
        issuer=pki.issuing.issuer, key=key.public_key(), now=site.clock(), random=system_random
    )
    certificate = x509.load_der_x509_certificate(pki.issuing.sign(template))
    on_token = Pki(root=pki.root, issuing=pki.issuing, ocsp_key=key, ocsp_certificate=certificate)
    site = build_site(site.database, on_token, site.clock, site.config)

    def again() -> None:
        site.clock.pass_(hours=7)
        site.answering.round()

    best = _best(again) / (2 * RESIGNED)
    print(
        f"  {kind:8} an answer, built, signed, verified, read back, stored {best * 1e6:4.0f} µs   "
        f"the token's signature, verified {verified * 1e6:4.0f} µs: {verified / best:.2f}   "
        f"alone {bare * 1e6:4.0f} µs: {bare / best:.2f}"
    )


def _best(work: Callable[[], object]) -> float:
    """Seconds of the processor, so that neighbours count little."""
    found = []
    for _ in range(5):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)
