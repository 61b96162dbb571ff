"""What every relying service must do, whichever it is; each test brings the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fixtures.relying import Relied, until
from tests.fixtures.servers import Server


def judge_by_ocsp(relied: Relied, server: Server) -> None:
    """Believes a delivered store until its deactivation, and only fresh answers of the right signer."""
    leaving = relied.deliver()
    good, gone = relied.visitor(server.port, relied.good), relied.visitor(server.port, leaving)
    assert good.visit().accepted, server.said
    assert gone.visit().accepted, server.said
    assert not relied.visitor(server.port, None).visit().accepted
    assert not relied.stranger(server.port).visit().accepted
    leaving.deactivate()
    until(lambda: not gone.visit().accepted, "a deactivated store is accepted")
    with relied.front.down():
        assert not good.visit().accepted, "nobody was asked"
    for lie in (relied.stale("ocsp"), relied.by_stranger, relied.by_professional):
        asked = len(relied.front.asked)
        with relied.front.lying("/pki/ocsp", lie):
            assert not good.visit().accepted, f"believed {lie}"
        assert len(relied.front.asked) > asked
    assert good.visit().accepted, server.said


def judge_by_crl(relied: Relied, server: Server, crls: Path, fetch: Callable[[], None]) -> None:
    """``fetch`` is the page's way to have ``crls`` loaded, the file that the server reads."""
    leaving = relied.deliver()
    good, gone = relied.visitor(server.port, relied.good), relied.visitor(server.port, leaving)
    assert good.visit().accepted, server.said
    assert gone.visit().accepted, server.said
    assert not relied.visitor(server.port, None).visit().accepted
    assert not relied.stranger(server.port).visit().accepted
    leaving.deactivate()
    serial = leaving.certificate.serial_number
    until(lambda: listed(relied, crls, serial), "the deactivation does not arrive in the file")
    fetch()
    until(lambda: not gone.visit().accepted, "a deactivated store is accepted")
    assert good.visit().accepted, server.said


def listed(relied: Relied, crls: Path, serial: int) -> bool:
    relied.fetch_crls(crls)
    lists = x509.load_pem_x509_crl(
        crls.read_bytes().split(b"-----END X509 CRL-----\n")[1] + b"-----END X509 CRL-----\n"
    )
    return lists.get_revoked_certificate_by_serial_number(serial) is not None


def plant(relied: Relied, crls: Path, issuing: bytes) -> None:
    """A file as the script never leaves it: the root's CRL, and ``issuing`` (DER) as the issuing CA's."""
    root = crls.with_name(f"{crls.name}.root").read_bytes()
    crls.write_bytes(root + x509.load_der_x509_crl(issuing).public_bytes(Encoding.PEM))
