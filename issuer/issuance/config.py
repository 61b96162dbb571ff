"""Sections [issuance] (how long, how many at once, how many a person) and [pki] (names, addresses,
policy); and the profiles' files."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from issuer.issuance.keystore.keypairs import KeyType
from policies.renewal import RenewalRules

LintKind = Literal["pkix", "ncp-natural-person"]
"""Defined here and not beside the linter: every process reads settings, only the issuer loads pkilint."""

KeyUsage = Literal[
    "digital-signature",
    "content-commitment",
    "key-encipherment",
    "key-agreement",
    "key-cert-sign",
    "crl-sign",
]
ExtendedKeyUsage = Literal["client-auth", "email-protection", "ocsp-signing"]

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


class IssuanceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All durations in seconds."""

    workers: int = msgspec.field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    """Stores made at the same time: a key fills a core, and while one is certified another is made."""
    queue: int = 64
    """Stores accepted and waiting; beyond it the service says it is overloaded."""
    bound: int = 115
    """A generation that has not ended by then leaves nothing active behind (R13, R14). Some seconds
    less than journey.generation_bound, so that what web gives up on is never activated afterwards."""
    delivery: int = 600
    """How long a finished store can be fetched (R17)."""
    per_person_hour: int = 20
    """The issuer's own limit, whatever web allows."""
    reap_every: float = 1.0
    instance: str = msgspec.field(default_factory=lambda: platform.node()[:36] or "issuer")
    """Which issuer this is, of several over one registry: each ends at once what only its own previous
    run was making. The host's name where not set; the same after a restart, and nobody else's."""

    def __post_init__(self) -> None:
        if min(self.workers, self.queue, self.bound, self.delivery, self.per_person_hour) < 1:
            raise ValueError("issuance: every limit is at least 1")
        if not 1 <= len(self.instance) <= 36:
            raise ValueError("issuance.instance: 1 to 36 characters")
        if self.reap_every <= 0:
            raise ValueError("issuance.reap_every: a positive number of seconds")


class RenewalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Guided renewal (R22). In days."""

    window_days: int = 90
    """Before expiry."""
    overlap_days: int = 0
    """How long the old store stays valid beside the new one; 0, as in the manual: it ends with the
    new one's activation."""

    def __post_init__(self) -> None:
        if self.window_days < 1 or self.overlap_days < 0:
            raise ValueError("renewal: a window of at least a day, an overlap of none or more")

    @property
    def rules(self) -> RenewalRules:
        return RenewalRules(window_days=self.window_days, overlap_days=self.overlap_days)


class PkiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in every certificate. Changing a name or the address needs a new ceremony."""

    public_url: str = "http://127.0.0.1:8001"
    """Base of CDP, AIA and OCSP addresses. Plain http (RFC 5280 8: https could need itself to be
    checked) on a name under a public suffix, or a loopback address for a demo: ETSI's lint
    objects to every other host (``etsi.internal_domain_name``), PKIX's to ``localhost``."""
    country: str = "LU"
    organisation: str = "myCert Demonstration"
    organisation_identifier: str = "NTRLU-B000000"
    """EN 319 412-1 5.1.4: scheme and country, hyphen, number; here nobody's."""
    root_name: str = "myCert Demonstration Root CA"
    issuing_name: str = "myCert Demonstration Issuing CA"
    ocsp_name: str = "myCert Demonstration OCSP Responder"
    policy_oid: str = "1.3.6.1.4.1.32473.1.1.1"
    """Of the operator's own arc. The default's arc, 32473, is reserved for examples (RFC 5612)."""
    cps_url: str = "https://pki.example.org/cps"
    ncp_audited: bool = False
    """State ETSI's NCP policy (EN 319 411-1) too; only for whom an auditor found to keep it."""
    professional_validity_days: int | None = None
    """The profile's own where not set."""
    profiles: str | None = None
    """A folder whose <profile>.toml files replace the ones that come with myCert."""

    def __post_init__(self) -> None:
        _check_url("pki.public_url", self.public_url, schemes=("http",))
        _check_url("pki.cps_url", self.cps_url, schemes=("http", "https"))
        if not re.fullmatch("[A-Z]{2}", self.country):
            raise ValueError("pki.country: two capital letters (ISO 3166)")
        if not _OID.fullmatch(self.policy_oid):
            raise ValueError("pki.policy_oid: a dotted object identifier")
        if len({self.root_name, self.issuing_name, self.ocsp_name}) < 3:
            raise ValueError("pki: root, issuing and ocsp need names of their own")

    def crl_url(self, authority: str) -> str:
        return f"{self._base}/pki/crl/{authority}.crl"

    def certificate_url(self, authority: str) -> str:
        return f"{self._base}/pki/ca/{authority}.cer"

    @property
    def ocsp_url(self) -> str:
        return f"{self._base}/pki/ocsp"

    @property
    def on_loopback(self) -> bool:
        """Addresses that mean something on this machine alone: a demo, or a test."""
        return _is_loopback(self.public_url)

    @property
    def _base(self) -> str:
        return self.public_url.rstrip("/")


class ProfileConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile's file as written. What may be asked of it only ``load_profiles`` can say."""

    lint: LintKind
    key_types: tuple[KeyType, ...]
    """What a key may be; the first is the default."""
    validity_days: int
    path_length: int | None = None
    key_usage: tuple[KeyUsage, ...]
    extended_key_usage: tuple[ExtendedKeyUsage, ...] = ()
    ocsp_no_check: bool = False
    policy: Literal["none", "any", "own"] = "none"
    crl: bool = False
    ocsp: bool = False
    ca_issuers: bool = False
    admission: bool = False
    profession_oids: dict[str, str] = {}
    """Profession code to object identifier, for the admission extension."""

    @property
    def is_ca(self) -> bool:
        return "key-cert-sign" in self.key_usage


def _check_url(setting: str, url: str, *, schemes: tuple[str, ...]) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in schemes or parts.query or parts.fragment or parts.username or not url.isascii():
        raise ValueError(f"{setting}: a plain {' or '.join(schemes)} address")
    if "." not in host.strip(".") and not _is_loopback(url):
        raise ValueError(f"{setting}: a dotted host name or an IP address")


def _is_loopback(url: str) -> bool:
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False
