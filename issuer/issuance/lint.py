"""pkilint, warm and in process: what it finds at WARNING or above is refused.

Validators are built once; a run costs about 3 ms. They hold no state of a document, so
threads share them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

from pkilint import etsi, loader, pkix
from pkilint.cabf import cabf_crl
from pkilint.etsi import etsi_shared
from pkilint.etsi.etsi_constants import CertificateType
from pkilint.pkix import certificate, crl, extension, name
from pkilint.pkix.certificate import certificate_key
from pkilint.validation import ValidationFindingSeverity, ValidationResult

from issuer.issuance.config import LintKind
from issuer.issuance.errors import LintRefused

CrlKind = Literal["crl", "arl"]

_THRESHOLD = ValidationFindingSeverity.WARNING
_LOOPBACK_ACCEPTED = frozenset({etsi_shared.VALIDATION_INTERNAL_DOMAIN_NAME.code})
_NATURAL_PERSON = CertificateType.NCP_NATURAL_PERSON_CERTIFICATE


@lru_cache
def _certificate(kind: LintKind) -> Any:
    """The natural person's rules are EN 319 412-2's. They contain PKIX's but for two: EN 319 412-2 lets
    names be longer than RFC 5280, so PKIX's decoders come first, and key usage is held against the key."""
    decoders = certificate.create_decoding_validators(
        name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
    )
    if kind == "ncp-natural-person":
        decoders += etsi.create_decoding_validators(_NATURAL_PERSON)
        validators = etsi.create_validators(
            _NATURAL_PERSON,
            additional_extension_validators=[certificate_key.SpkiKeyUsageConsistencyValidator()],
        )
    else:
        validators = [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ]
    return certificate.create_pkix_certificate_validator_container(decoders, validators)


@lru_cache
def _crl(kind: CrlKind) -> Any:
    # The CA/B Forum's rules add what PKIX leaves open: which reasons may stand (ours are
    # among them), and how long a CRL (10 d) or an ARL (12 months) may live.
    crl_type = crl.CertificateRevocationListType[kind.upper()]
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([cabf_crl.create_validity_period_validator(crl_type)]),
            crl.create_extensions_validator_container([]),
            cabf_crl.CabfCrlReasonCodeAllowlistValidator(crl_type),
        ],
    )


def _refuse(results: Iterable[ValidationResult], accepted: frozenset[str] = frozenset()) -> None:
    findings = tuple(
        f"{description.finding.severity.name} {description.finding.code} at {result.node.path}"
        for result in results
        for description in result.finding_descriptions
        if description.finding.severity <= _THRESHOLD and description.finding.code not in accepted
    )
    if findings:
        raise LintRefused(findings)


def lint_certificate(der: bytes, kind: LintKind, *, on_loopback: bool = False) -> None:
    """Lint a whole certificate; raises LintRefused. Findings carry codes and places, no values of a person.

    ETSI wants every address under a public suffix, which no loopback address is: ``on_loopback``
    lets that one finding pass, for the certificates of a demo alone.
    """
    results = _certificate(kind).validate(loader.load_der_certificate(der).root)
    _refuse(results, _LOOPBACK_ACCEPTED if on_loopback else frozenset())


def lint_crl(der: bytes, kind: CrlKind) -> None:
    """Lint a CRL; raises LintRefused. A millisecond an entry, so it is for short lists like the root's."""
    _refuse(_crl(kind).validate(loader.load_der_crl(der).root))
