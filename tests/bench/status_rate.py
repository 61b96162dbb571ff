"""OCSP requests a second on one core, beside nginx with a file of the same size and cfssl's ocspserve.

Servers share core 0 and take turns; wrk has the last core. Each of many certificates is asked for.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryptography import x509

from issuer.issuance.templates import serial_text
from issuer.publisher.ocsp_request import CertId
from issuer.registry import answers
from tests.bench.registry import make_site
from tests.fixtures.servers import free_port, serving

CERTIFICATES = 500
ROUNDS = 5
SECONDS = 2
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off; sendfile on; tcp_nopush on; open_file_cache max=10; keepalive_requests 100000000;
    {temporary}
    default_type application/ocsp-response;
    server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    per_second: float
    median: float
    p99: float
    """Seconds."""


def run(folder: Path) -> None:
    print(f"\nstatus-rate: {ROUNDS} rounds of {SECONDS} s, 16 connections, medians of the rounds")
    folder.mkdir()
    folder.chmod(0o755)
    scripts, size = _prepare(folder)
    with contextlib.ExitStack() as started:
        ports = {name: started.enter_context(server(folder)) for name, server in _SERVERS.items()}
        contenders = {
            f"nginx, {size} bytes": ("nginx", f"http://127.0.0.1:{ports['nginx']}/answer", None),
            "GET": ("mycert", f"http://127.0.0.1:{ports['mycert']}", scripts["get"]),
            "POST": ("mycert", f"http://127.0.0.1:{ports['mycert']}", scripts["post"]),
            "GET, over ASGI": ("mycert", f"http://127.0.0.1:{ports['mycert']}", scripts["long"]),
            "cfssl ocspserve, POST": ("cfssl", f"http://127.0.0.1:{ports['cfssl']}", scripts["cfssl"]),
        }
        found: dict[str, list[Rate]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, (_, url, script) in contenders.items():
                found[name].append(_wrk(url, script))
        alone = {name: _wrk(url, script, 1) for name, (_, url, script) in contenders.items()}
    nginx = next(iter(found.values()))
    for name, rates in found.items():
        ratio = statistics.median(
            one.per_second / other.per_second for one, other in zip(rates, nginx, strict=True)
        )
        print(
            f"  {name:22} {statistics.median(one.per_second for one in rates):8.0f}/s   "
            f"to nginx {ratio:4.2f}   p99 {statistics.median(one.p99 for one in rates) * 1e3:6.2f} ms   "
            f"one connection: median {alone[name].median * 1e3:5.2f}, p99 {alone[name].p99 * 1e3:5.2f} ms"
        )


def _prepare(folder: Path) -> tuple[dict[str, Path], int]:
    site, serials = make_site(folder / "registry", good=CERTIFICATES)
    site.answering.round()
    site.door.issue_crl("issuing")
    issuer = x509.load_der_x509_certificate(site.pki.issuing.certificate_der)
    ders = [CertId.of(issuer, serial, "sha1").request for serial in serials]
    with site.database.read() as connection:
        found = [answers.find(connection, "issuing", serial_text(serial), "sha1") for serial in serials]
    signed = [one.answer for one in found if one is not None]
    assert len(signed) == CERTIFICATES
    (folder / "www").mkdir()
    (folder / "www" / "answer").write_bytes(signed[0])
    (folder / "responses").write_text("\n".join(base64.b64encode(answer).decode() for answer in signed))
    gets = [f"GET /pki/ocsp/{quote(base64.b64encode(der).decode(), safe='')} HTTP/1.1" for der in ders]
    return {
        "get": _script(folder / "get.lua", [(line, b"") for line in gets]),
        # A field that the short way does not know.
        "long": _script(folder / "long.lua", [(f"{line}\r\nX-Other: 1", b"") for line in gets]),
        "post": _script(folder / "post.lua", [("POST /pki/ocsp HTTP/1.1", der) for der in ders]),
        "cfssl": _script(folder / "cfssl.lua", [("POST / HTTP/1.1", der) for der in ders]),
    }, len(signed[0])


def _script(path: Path, requests: list[tuple[str, bytes]]) -> Path:
    """For wrk: the requests as they go over the wire, in turn."""
    lines = ["local requests = {"]
    for line, body in requests:
        about = f"Content-Type: application/ocsp-request\r\nContent-Length: {len(body)}\r\n" if body else ""
        whole = f"{line}\r\nHost: 127.0.0.1\r\n{about}\r\n".encode() + body
        lines.append('"' + "".join(f"\\x{octet:02x}" for octet in whole) + '",')
    lines += ["}", "local n = 0", "request = function()", "  n = n % #requests + 1"]
    lines += ["  return requests[n]", "end", ""]
    path.write_text("\n".join(lines))
    return path


@contextlib.contextmanager
def _mycert(folder: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.status_process", str(folder / "registry"), str(port)]
    with _pinned(command, port, folder / "mycert"):
        yield port


@contextlib.contextmanager
def _nginx(folder: Path) -> Iterator[int]:
    port = free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port, temporary=temporary))
    with _pinned(["nginx", "-c", str(folder / "nginx.conf")], port, folder / "nginx"):
        yield port


@contextlib.contextmanager
def _cfssl(folder: Path) -> Iterator[int]:
    port = free_port()
    command = ["cfssl", "ocspserve", f"-port={port}", f"-responses={folder / 'responses'}", "-loglevel=5"]
    with _pinned(command, port, folder / "cfssl"):
        yield port


_SERVERS = {"nginx": _nginx, "mycert": _mycert, "cfssl": _cfssl}


@contextlib.contextmanager
def _pinned(command: list[str], port: int, folder: Path) -> Iterator[None]:
    folder.mkdir()
    core = str(min(os.sched_getaffinity(0)))
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "GOMAXPROCS": "1"}
    with serving(["taskset", "-c", core, *command], port, folder, environment):
        yield


def _wrk(url: str, script: Path | None, connections: int = 16) -> Rate:
    core = str(max(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core, "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency"]
    command += [*(["-s", str(script)] if script else []), url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise AssertionError(said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate is not None
    return Rate(per_second=float(rate[1]), median=_latency(said, "50"), p99=_latency(said, "99"))


def _latency(said: str, percent: str) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)$", said, re.M)
    assert found is not None
    return float(found[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[found[2]]
