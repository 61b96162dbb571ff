"""What a ceremony leaves: a journal while it runs, a signed record when it is done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from issuer.ceremony.script import CeremonyRefused
from issuer.durable import write_file
from issuer.issuance.keys import public_key
from issuer.issuance.keystore.keypairs import verifies


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One thing made. Fingerprints are SHA-256 in hexadecimal, of the DER or of the SubjectPublicKeyInfo."""

    made: str
    output: str
    sha256: str | None = None
    signed_by: str
    serial: str | None = None
    number: int | None = None
    not_before: str | None = None
    not_after: str | None = None
    token: str | None = None
    key_label: str | None = None
    key_type: str | None = None
    key_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyRecord:
    name: str
    title: str
    script_sha256: str
    operators: tuple[str, ...]
    started_at: str
    finished_at: str | None
    """Empty where it was only planned."""
    steps: tuple[StepRecord, ...]
    journal: tuple[dict[str, Any], ...] = field(default=())
    """Everything begun, also what a crash made void: each signature stands here before it was made."""

    def document(self) -> bytes:
        """The bytes that are signed. They begin with a brace, so no such signature is one over DER."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


class Journal:
    """Lines of JSON, each on disk before what it announces is done."""

    def __init__(self, path: Path, script_sha256: str) -> None:
        """Raises CeremonyRefused where another script was begun under this name."""
        self._path = path
        self.events: list[dict[str, Any]] = []
        if path.exists():
            self.events = [json.loads(line) for line in path.read_text().splitlines()]
        if self.events and self.events[0]["script_sha256"] != script_sha256:
            raise CeremonyRefused(
                f"{path}: this ceremony was begun with another script (SHA-256 "
                f"{self.events[0]['script_sha256']}); finish it with that one, or give yours a new name"
            )

    @property
    def begun(self) -> bool:
        return bool(self.events)

    def write(self, at: datetime, event: str, **details: object) -> None:
        line = {"at": at.isoformat(), "event": event, **details}
        complete = "".join(json.dumps(one, sort_keys=True) + "\n" for one in (*self.events, line))
        write_file(self._path, complete.encode(), replace=True)
        self.events.append(line)

    def announced(self, event: str, **details: object) -> bool:
        wanted = {"event": event, **details}.items()
        return any(wanted <= one.items() for one in self.events)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def record_paths(output: Path, name: str) -> tuple[Path, Path]:
    """The record, and its detached signature."""
    record = output / f"ceremony-{name}.json"
    return record, record.with_suffix(".json.sig")


def verify_record(document: bytes, signature: bytes, certificate: x509.Certificate) -> None:
    """Raises CeremonyRefused unless the certificate's key signed the record."""
    if not verifies(public_key(certificate.public_key()), signature, document):
        raise CeremonyRefused("the record's signature does not verify")
