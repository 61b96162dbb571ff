"""The ``[keystore]`` section."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec

from issuer.issuance.keystore.confinement import Limits, Measure
from issuer.issuance.keystore.keypairs import KeyType

# .NET refuses more than 300,000 rounds; below 2,048 some readers warn.
Rounds = Annotated[int, msgspec.Meta(ge=2_048, le=300_000)]


class KeystoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    # One of the professional profile's, or the issuer does not start.
    key_type: KeyType = "rsa-3072"
    # The password carries the strength (130 bits), so the rounds need not (shared/profiles.md).
    kdf_rounds: Rounds = 20_000
    legacy_kdf_rounds: Rounds = 5_000
    # From the order to the sealed store, the certificate's signature included.
    wall_seconds: Annotated[float, msgspec.Meta(gt=0, le=110)] = 30.0
    # Address space, of which a worker's Python and OpenSSL take about 45 MiB.
    memory_mib: Annotated[int, msgspec.Meta(ge=128, le=4_096)] = 256
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = msgspec.field(
        default_factory=lambda: 2 * (os.cpu_count() or 1)
    )
    # Measures of confinement that this machine may lack; any other that is missing refuses the start.
    allow_missing: tuple[Measure, ...] = ()

    def limits(self) -> Limits:
        return Limits(
            # The workshop gives up first; the worker's own alarm is for when nobody watches any more.
            wall_seconds=self.wall_seconds + 1.0,
            memory_bytes=self.memory_mib * 2**20,
            allow_missing=self.allow_missing,
        )
