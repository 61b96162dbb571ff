"""Run a ceremony: keys on their tokens, certificates, the root's CRL, and a signed record.

Everything is announced in the journal before it is done, and every file is created
exclusively. So a run that was cut short is taken up by running the same script again: what
is there is checked and kept, a key that was made is used, and the rest is made. A key or a
file that no journal announced is somebody else's, and refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hsm.token import Token
from issuer.ceremony.making import Making
from issuer.ceremony.record import CeremonyRecord, Journal, record_paths
from issuer.ceremony.script import CeremonyRefused, parse_script
from issuer.clock import Clock, RandomBytes
from issuer.durable import write_file
from issuer.issuance.config import PkiConfig
from issuer.issuance.profiles import load_profiles


def run_ceremony(
    source: bytes,
    tokens: Mapping[str, Token],
    pki: PkiConfig,
    output: Path,
    clock: Clock,
    random: RandomBytes,
    operator: list[str],
    progress: Callable[[str], None],
    dry_run: bool = False,
) -> CeremonyRecord:
    """Make what the script in ``source`` says; ``dry_run`` checks everything and writes nothing.

    Raises CeremonyRefused before anything was done, and ProfileRefused, LintRefused,
    AuthorityRefused or an HsmError from within; then run the same script again.
    """
    script, script_sha256 = parse_script(source), hashlib.sha256(source).hexdigest()
    record_file, signature_file = record_paths(output, script.name)
    journal_file = record_file.with_suffix(".journal")
    if signature_file.exists():
        raise CeremonyRefused(f"{record_file}: this ceremony is finished; a new one needs a new name")
    operators = tuple(sorted({name.strip() for name in operator} - {""}))
    if len(operators) < script.operators:
        raise CeremonyRefused(f"{script.operators} operators are needed, {len(operators)} named")
    making = Making(
        script=script,
        tokens=tokens,
        output=output,
        journal=Journal(journal_file, script_sha256),
        profiles=load_profiles(pki, clock=clock, random=random),
        clock=clock,
        random=random,
        progress=progress,
    )
    making.check()
    record = CeremonyRecord(
        name=script.name,
        title=script.title,
        script_sha256=script_sha256,
        operators=operators,
        started_at=clock().isoformat(),
        finished_at=None,
        steps=tuple(making.plan(step) for step in script.steps),
    )
    if dry_run:
        for planned in record.steps:
            progress(f"would make {planned.made} {planned.output}, signed by {planned.signed_by}")
        return record
    making.journal.write(clock(), "begun", script_sha256=script_sha256, operators=operators)
    steps = tuple(making.make(step) for step in script.steps)
    record = replace(
        record,
        started_at=making.journal.events[0]["at"],
        finished_at=clock().isoformat(),
        steps=steps,
        journal=tuple(making.journal.events),
    )
    signer = making.authority(script.steps[0].authority)
    document = record.document()
    write_file(record_file, document, replace=True)
    write_file(signature_file, signer.sign_bytes(document), replace=False)
    making.journal.remove()
    progress(f"record {record_file.name}, signed by the {signer.name}'s key")
    return record
