"""What the certificate side refuses. Messages are for the log and hold no personal data."""

from __future__ import annotations

from typing import ClassVar

from issuer.errors import IssuerError


class CertificateError(IssuerError):
    """Root of the tree of profiles, templates, authorities, CRLs and OCSP answers."""


class ProfileRefused(CertificateError):
    """A profile, or the section [pki], that would not give sound certificates. Raised at start."""


class SubjectRefused(CertificateError):
    """The identity holds a text that cannot stand in a certificate. Names the field, never its value."""

    code: ClassVar[str] = "invalid-request"


class LintRefused(CertificateError):
    """pkilint found something of WARNING or above; nothing was signed with a real key."""

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


class TemplateRefused(CertificateError):
    """A template used a second time, or by another authority than the one it was made for."""


class AuthorityRefused(CertificateError):
    """Key, certificate and chain do not belong together, or may not be used now, or signed wrongly."""

    code: ClassVar[str] = "ca-unavailable"


class CrlRefused(CertificateError):
    """A CRL that, read back, is not what was meant: it is not published."""


class OcspRefused(CertificateError):
    """An OCSP answer that, read back, is not what was meant: it does not leave."""
