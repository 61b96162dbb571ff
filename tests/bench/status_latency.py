"""From before a deactivation is confirmed until OCSP and the CRL say so, seen from outside, under load."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509 import ocsp

from issuer.publisher.ocsp_request import CertId
from tests.fixtures.system import Caller, System, free_ports, start_system

OCSP_CLIENTS = 4
"""Ask for status as fast as they get it, all the time."""
_GIVEN_UP = 30.0


def run(folder: Path, *, deactivations: int) -> None:
    folder.mkdir(mode=0o755)
    print(
        f"\nstatus-latency: {deactivations} deactivations, {OCSP_CLIENTS} others asking, stores being issued"
    )
    system = start_system(folder, free_ports(4), MYCERT_KEYSTORE__KEY_TYPE="p-256")
    try:
        _measure(system, deactivations)
    finally:
        system.http.close()
        system.stop()


def _measure(system: System, deactivations: int) -> None:
    issuer = x509.load_der_x509_certificate(httpx.get(f"{system.status_url}/pki/ca/issuing.cer").content)
    _, steady = _deliver(system, 3_500_000_000)
    request = CertId.of(issuer, steady, "sha1").request
    stop = threading.Event()
    asked = [0] * OCSP_CLIENTS
    took: dict[str, list[float]] = {"OCSP": [], "CRL": []}
    # One store ahead of the deactivations, so that issuance goes on all the time beside them.
    with ThreadPoolExecutor(OCSP_CLIENTS + 3) as threads:
        for number in range(OCSP_CLIENTS):
            threads.submit(_keep_asking, system, request, stop, asked, number)
        began = time.perf_counter()
        following = threads.submit(_deliver, system, 3_500_000_001)
        for number in range(deactivations):
            holder, serial = following.result()
            following = threads.submit(_deliver, system, 3_500_000_002 + number)
            for name, seconds in _deactivate(system, issuer, holder, serial, threads).items():
                took[name].append(seconds)
        following.result()
        elapsed = time.perf_counter() - began
        stop.set()
    for name, seconds in took.items():
        ordered = sorted(seconds)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        print(
            f"  {name:5} median {statistics.median(ordered) * 1e3:6.0f} ms   p99 {p99 * 1e3:6.0f} ms   "
            f"max {ordered[-1] * 1e3:6.0f} ms"
        )
    print(f"  meanwhile {sum(asked) / elapsed:.0f} OCSP requests/s, {deactivations / elapsed:.1f} stores/s")


def _deliver(system: System, number: int) -> tuple[Caller, int]:
    holder = system.person(str(number))
    password, keystore = holder.obtain(f"{number}@example.com")
    opened = load_pkcs12(keystore, password.encode()).cert
    assert opened is not None
    return holder, opened.certificate.serial_number


def _keep_asking(system: System, request: bytes, stop: threading.Event, asked: list[int], place: int) -> None:
    with httpx.Client(base_url=system.status_url, trust_env=False) as http:
        while not stop.is_set():
            assert http.post("/pki/ocsp", content=request).status_code == 200
            asked[place] += 1


def _deactivate(
    system: System, issuer: x509.Certificate, holder: Caller, serial: int, threads: ThreadPoolExecutor
) -> dict[str, float]:
    store = holder.active_store()["id"]
    request = CertId.of(issuer, serial, "sha256").request
    with httpx.Client(base_url=system.status_url, trust_env=False) as http:

        def by_ocsp() -> bool:
            said = ocsp.load_der_ocsp_response(http.post("/pki/ocsp", content=request).content)
            return (
                said.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
                and said.certificate_status is ocsp.OCSPCertStatus.REVOKED
            )

        def by_crl() -> bool:
            crl = x509.load_der_x509_crl(http.get("/pki/crl/issuing.crl").content)
            return crl.get_revoked_certificate_by_serial_number(serial) is not None

        assert not by_ocsp()
        assert not by_crl()
        begin = time.perf_counter()
        watching = {
            name: threads.submit(_until, condition, begin)
            for name, condition in (("OCSP", by_ocsp), ("CRL", by_crl))
        }
        confirmed = {"reason": "file-stolen", "confirm": True}
        done = holder.call("POST", f"/stores/{store}/deactivation", json=confirmed)
        assert done.status_code == 200, done.text
        return {name: watcher.result() for name, watcher in watching.items()}


def _until(condition: Callable[[], bool], begin: float) -> float:
    while not condition():
        assert time.perf_counter() - begin < _GIVEN_UP, "it is not told"
        time.sleep(0.001)
    return time.perf_counter() - begin
