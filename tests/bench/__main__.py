from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench import issuance
from tests.bench.machine import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("part", nargs="*", help="issuance (all where none is named)")
    parser.add_argument("--stores", type=int, default=64, help="stores a measurement under load makes")
    arguments = parser.parse_args()
    parts = arguments.part or ["issuance"]
    describe_machine()
    with tempfile.TemporaryDirectory(prefix="mycert-bench-") as folder:
        # The services' users pass through it.
        Path(folder).chmod(0o755)
        if "issuance" in parts:
            issuance.run(Path(folder), stores=arguments.stores)


main()
