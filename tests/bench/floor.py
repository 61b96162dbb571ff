"""The floor of an issuance: the least that any implementation has to do for one store.

Key generation, one signature by the token, one PKCS#12 with the parameters in use. Nothing
else: no database, no HTTP, no process of its own, no lint. One process a core.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates

from api.settings import Settings, load
from hsm.token import Token

PASSWORD = b"abcdefghijkmnpqrstuvwxyz23"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    seconds: list[float]
    """One store after the other, one process."""
    per_second: float
    """One process a core."""
    cpu_seconds: float
    """Of a processor, for one store."""

    def __add__(self, other: Floor) -> Floor:
        """Two measurements of the same length."""
        return Floor(
            seconds=[*self.seconds, *other.seconds],
            per_second=(self.per_second + other.per_second) / 2,
            cpu_seconds=(self.cpu_seconds + other.cpu_seconds) / 2,
        )


class _Bench:
    def __init__(self, home: str, key_type: str) -> None:
        settings: Settings = load(environment={**os.environ, "MYCERT_HOME": home})
        self.key_type = key_type
        self.rounds = settings.keystore.kdf_rounds
        pki = Path(home) / "pki"
        self.issuer = x509.load_der_x509_certificate((pki / "issuing.cer").read_bytes())
        self.token = Token.open(settings.hsm.issuing, settings.hsm.issuing.read_pin())
        public_key = self.issuer.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        self.key = self.token.private_key("issuing", public_key)
        self.tbs = self.issuer.tbs_certificate_bytes

    def one(self) -> float:
        started = time.perf_counter()
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if self.key_type.startswith("rsa"):
            key = rsa.generate_private_key(65537, int(self.key_type.partition("-")[2]))
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        self.key.sign(self.tbs, ec.ECDSA(hashes.SHA384()))
        encryption = (
            PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(self.rounds)
            .key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
            .hmac_hash(hashes.SHA256())
            .build(PASSWORD)
        )
        serialize_key_and_certificates(b"bench", key, None, [self.issuer], encryption)
        return time.perf_counter() - started


def _work(home: str, key_type: str, seconds: float) -> tuple[int, float, float]:
    """How many, in how many seconds, and in how many of the processor."""
    bench = _Bench(home, key_type)
    bench.one()
    made, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        bench.one()
        made += 1
    elapsed, used = time.perf_counter() - began, time.process_time() - used
    bench.token.close()
    return made, elapsed, used


def _series(home: str, key_type: str, count: int) -> list[float]:
    bench = _Bench(home, key_type)
    bench.one()
    found = [bench.one() for _ in range(count)]
    bench.token.close()
    return found


def measure(home: Path, key_type: str, *, count: int, seconds: float) -> Floor:
    cores = len(os.sched_getaffinity(0))
    # Fresh processes: a fork would carry the token's session along.
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        alone = pool.submit(_series, str(home), key_type, count).result()
        each = list(pool.map(_work, [str(home)] * cores, [key_type] * cores, [seconds] * cores))
    return Floor(
        seconds=alone,
        per_second=sum(made / elapsed for made, elapsed, _ in each),
        cpu_seconds=sum(used for _, _, used in each) / sum(made for made, _, _ in each),
    )
