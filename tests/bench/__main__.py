from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench import issuance, status_latency, status_rate, status_size
from tests.bench.machine import describe_machine

PARTS = ("issuance", "status-rate", "status-latency", "crl-size", "ocsp-size")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)} (all where none is named)")
    parser.add_argument(
        "--stores",
        type=int,
        default=320,
        help="stores made under load; of P-256 four times as many",
    )
    parser.add_argument("--deactivations", type=int, default=100, help="that status-latency looks at")
    arguments = parser.parse_args()
    parts = arguments.part or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(unknown)}")
    describe_machine()
    with tempfile.TemporaryDirectory(prefix="mycert-bench-") as folder:
        # The services' users pass through it.
        Path(folder).chmod(0o755)
        if "issuance" in parts:
            issuance.run(Path(folder), stores=arguments.stores)
        if "status-rate" in parts:
            status_rate.run(Path(folder) / "rate")
        if "status-latency" in parts:
            status_latency.run(Path(folder) / "latency", deactivations=arguments.deactivations)
        if "crl-size" in parts:
            status_size.crl_size(Path(folder) / "crl")
        if "ocsp-size" in parts:
            status_size.look_up()
            status_size.resign(Path(folder) / "resign")


main()
