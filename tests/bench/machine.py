"""What the figures were measured on, and how they are told."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path


def describe_machine() -> None:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024 // 1024
    load = ", ".join(f"{figure:.1f}" for figure in os.getloadavg())
    print(f"machine: {len(os.sched_getaffinity(0))} × {model}, {memory} GiB")
    print(f"system:  Linux {platform.release()}, Python {platform.python_version()}; load before: {load}")


def milliseconds(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"median {statistics.median(ordered) * 1e3:7.1f} ms   p99 {p99 * 1e3:7.1f} ms   n {len(ordered)}"
