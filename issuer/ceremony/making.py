"""What a ceremony's steps do: keys, certificates and CRLs, each announced in the journal before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from hsm.keys import PublicKey
from hsm.signing import PrivateKey
from hsm.token import Token
from issuer.ceremony.record import Journal, StepRecord
from issuer.ceremony.script import (
    AuthorityName,
    CaStep,
    CeremonyRefused,
    CeremonyScript,
    CrlStep,
    ResponderStep,
    Step,
)
from issuer.clock import Clock, RandomBytes
from issuer.durable import write_file
from issuer.issuance.authority import Authority, complete
from issuer.issuance.crl import build_crl, crl_entries, encode_entry, verify_crl
from issuer.issuance.keystore.keypairs import key_type_of, public_bytes
from issuer.issuance.lint import lint_crl
from issuer.issuance.profiles import Profile, Profiles
from issuer.issuance.subjects import authority_name
from issuer.issuance.templates import BACKDATE, Issuer, Template, serial_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """The steps of one ceremony. Each can be repeated after a crash, and then keeps what is there."""

    script: CeremonyScript
    tokens: Mapping[str, Token]
    output: Path
    journal: Journal
    profiles: Profiles
    clock: Clock
    random: RandomBytes
    progress: Callable[[str], None]

    def check(self) -> None:
        """Whatever would stop the ceremony half-way, as far as it can be known now."""
        needed = {name: authority.token for name, authority in self.script.authorities.items()}
        if missing := {*needed.values()} - self.tokens.keys():
            raise CeremonyRefused(f"token {missing.pop()} is not open")
        to_be_made = {step.authority for step in self.script.steps if isinstance(step, CaStep)}
        for name in self.script.authorities.keys() - to_be_made:
            self.authority(name)
        for step in self.script.steps:
            path = self.output / self.script.output_of(step)
            replaced = isinstance(step, CrlStep) and step.replace
            if replaced and not path.exists():
                raise CeremonyRefused(f"{path}: nothing to replace")
            if path.exists() and not replaced and not self.journal.announced("sign", output=path.name):
                raise CeremonyRefused(
                    f"{path}: exists already, and no journal says that this ceremony made it"
                )
            if isinstance(step, CrlStep):
                continue
            token, label = self._place(step)
            if token not in self.tokens:
                raise CeremonyRefused(f"token {token} is not open")
            announced = self.journal.announced("key", token=token, label=label)
            existing = isinstance(step, ResponderStep) and step.existing_key
            if self._has_key(token, label) != existing and not announced:
                state = "is not there" if existing else "is there already; labels are never used again"
                raise CeremonyRefused(f"key {label} on token {token} {state}")

    def plan(self, step: Step) -> StepRecord:
        kind = {CaStep: "CA", ResponderStep: "OCSP signer", CrlStep: "CRL"}[type(step)]
        signed_by = self.script.signer_of(step) or step.authority
        planned = StepRecord(made=kind, output=self.script.output_of(step), signed_by=signed_by)
        if isinstance(step, CrlStep):
            return planned
        token, label = self._place(step)
        return replace(
            planned, token=token, key_label=label, key_type=step.key_type or self._profile(step).key_type
        )

    def make(self, step: Step) -> StepRecord:
        planned = self.plan(step)
        done = self._make_crl(step, planned) if isinstance(step, CrlStep) else self._certify(step, planned)
        self.progress(f"{done.made} {done.output}, signed by {done.signed_by}, SHA-256 {done.sha256}")
        return done

    def authority(self, name: AuthorityName) -> Authority:
        """A CA from its certificate file and its key; CeremonyRefused, AuthorityRefused or HsmError."""
        config = self.script.authorities[name]
        certificate = self._read_certificate(config.certificate)
        above = () if name == "root" else (self.authority("root").certificate,)
        public = self.tokens[config.token].public_key(config.key)
        key = self.tokens[config.token].private_key(config.key, public)
        return Authority.open(name, certificate, key, above, now=self.clock())

    def _certify(self, step: CaStep | ResponderStep, planned: StepRecord) -> StepRecord:
        path = self.output / planned.output
        key = self._key(step)
        if path.exists():
            certificate = self._read_certificate(path.name)
            serial = serial_text(certificate.serial_number)
            if not self.journal.announced("sign", output=path.name, serial=serial):
                raise CeremonyRefused(f"{path}: not the certificate that this ceremony announced")
            if certificate.public_key() != key.public_key():
                raise CeremonyRefused(f"{path}: not of the key on the token")
        else:
            profile, above = self._profile(step), self.script.signer_of(step)
            signer = None if above is None else self.authority(above)
            issuer = self._itself(key.public_key()) if signer is None else signer.issuer
            template = profile.prepare(
                issuer=issuer, key=key.public_key(), now=self.clock(), random=self.random
            )
            self._announce(path.name, template)
            der = signer.sign(template) if signer else complete(template, issuer, key)
            write_file(path, der, replace=False)
            certificate = x509.load_der_x509_certificate(der)
        return replace(
            planned,
            sha256=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
            serial=serial_text(certificate.serial_number),
            not_before=certificate.not_valid_before_utc.isoformat(),
            not_after=certificate.not_valid_after_utc.isoformat(),
            key_type=key_type_of(key.public_key()),
            key_sha256=hashlib.sha256(public_bytes(key.public_key())).hexdigest(),
        )

    def _make_crl(self, step: CrlStep, planned: StepRecord) -> StepRecord:
        path = self.output / planned.output
        signer = self.authority(step.authority)
        previous, entries = 0, dict[int, bytes]()
        if path.exists():
            previous = verify_crl(path.read_bytes(), signer.issuer, previous_number=None).number
            entries = crl_entries(path.read_bytes())
        # A file with the number that this ceremony announced is the one it wrote before a crash.
        if not path.exists() or not self.journal.announced("sign", output=path.name, number=previous):
            now = self.clock()
            begin = now - BACKDATE  # ADR 32
            for revoked in step.revoke:
                serial = self._issued_by(signer, revoked.certificate).serial_number
                # Written once and for good: a serial revoked before keeps its first entry.
                entries.setdefault(serial, encode_entry(serial, now, revoked.reason))
            self.journal.write(now, "sign", output=path.name, number=previous + 1)
            der = build_crl(
                signer,
                number=previous + 1,
                this_update=begin,
                next_update=begin + timedelta(days=step.days),
                entries=entries.values(),
            )
            lint_crl(der, "arl")
            write_file(path, der, replace=step.replace)
        der = path.read_bytes()
        facts = verify_crl(der, signer.issuer, previous_number=None)
        return replace(
            planned,
            sha256=hashlib.sha256(der).hexdigest(),
            number=facts.number,
            not_before=facts.this_update.isoformat(),
            not_after=facts.next_update.isoformat(),
        )

    def _key(self, step: CaStep | ResponderStep) -> PrivateKey:
        """Made on the token and read back by it: not extractable, sign-only, answering to this public key."""
        name, label = self._place(step)
        token = self.tokens[name]
        key_type = step.key_type or self._profile(step).key_type
        if not self._has_key(name, label):
            self.journal.write(self.clock(), "key", token=name, label=label, key_type=key_type)
            self.progress(f"key {label} on token {name}, {key_type}")
            token.generate(label, key_type)
        key = token.private_key(label, token.public_key(label))
        findings = [finding for key in token.inventory() if key.label == label for finding in key.findings]
        if findings:
            raise CeremonyRefused(f"key {label} on token {name}: {'; '.join(findings)}")
        return key

    def _announce(self, output: str, template: Template) -> None:
        digest = hashlib.sha256(template.tbs).hexdigest()
        self.journal.write(
            self.clock(), "sign", output=output, serial=template.serial_number, tbs_sha256=digest
        )

    def _has_key(self, token: str, label: str) -> bool:
        return any(key.label == label for key in self.tokens[token].inventory())

    def _place(self, step: CaStep | ResponderStep) -> tuple[str, str]:
        if isinstance(step, ResponderStep):
            return step.token, step.key
        authority = self.script.authorities[step.authority]
        return authority.token, authority.key

    def _profile(self, step: CaStep | ResponderStep) -> Profile:
        if isinstance(step, ResponderStep):
            return self.profiles.ocsp
        return self.profiles.root if step.authority == "root" else self.profiles.issuing

    def _itself(self, key: PublicKey) -> Issuer:
        return Issuer.itself("root", authority_name(self.profiles.root.pki, "root"), key)

    def _issued_by(self, signer: Authority, name: str) -> x509.Certificate:
        certificate = self._read_certificate(name)
        try:
            certificate.verify_directly_issued_by(signer.certificate)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise CeremonyRefused(f"{name}: not issued by the {signer.name}") from error
        return certificate

    def _read_certificate(self, name: str) -> x509.Certificate:
        try:
            return x509.load_der_x509_certificate((self.output / name).read_bytes())
        except (OSError, ValueError) as error:
            raise CeremonyRefused(f"{self.output / name}: {error}") from error
