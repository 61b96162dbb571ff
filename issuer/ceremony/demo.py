"""The demonstration's ceremony: the same code as any other, with one operator."""

from __future__ import annotations

from importlib import resources


def demo_script() -> bytes:
    return resources.files(__package__).joinpath("demo.toml").read_bytes()
