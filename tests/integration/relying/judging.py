"""What every relying service must do, whichever it is; the test brings the server. Faults: test_matrix."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fixtures.relying import Relied, until
from tests.fixtures.servers import Server, Visit


def judge_by_ocsp(relied: Relied, server: Server) -> None:
    """Believes a delivered store until its deactivation, and nobody without one of ours."""
    leaving = relied.deliver()
    good, gone = relied.visitor(server.port, relied.good), relied.visitor(server.port, leaving)
    assert good.visit().accepted, server.said
    assert gone.visit().accepted, server.said
    assert not relied.visitor(server.port, None).visit().accepted
    assert not relied.stranger(server.port).visit().accepted
    leaving.deactivate()
    until(lambda: not gone.visit().accepted, "a deactivated store is accepted")
    assert good.visit().accepted, server.said


def judge_by_crl(relied: Relied, server: Server, crls: Path, fetch: Callable[[], object]) -> None:
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
    # Whether somebody was refused in the instant of a reload is roll_over's question.
    until(lambda: good.visit().accepted, "a good store is not accepted any more")


def judge_sessions(
    relied: Relied, server: Server, crls: Path, newest: ssl.TLSVersion, fetch: Callable[[], object]
) -> None:
    """No session that began before a deactivation is resumed after it."""
    leaving = relied.deliver()
    visitor = relied.visitor(server.port, leaving, newest)
    assert visitor.visit().accepted, server.said
    assert not visitor.visit(resume=True).resumed
    leaving.deactivate()
    until(lambda: listed(relied, crls, leaving.certificate.serial_number), "never listed")
    fetch()
    until(lambda: not visitor.visit(resume=True).accepted, "a session outlived its store")


def visiting_all_the_time(relied: Relied, server: Server, meanwhile: Callable[[], None]) -> None:
    """Somebody with a good store visits while CRLs are rolled over, and is refused not once."""
    outcomes: list[Visit] = []
    stop = threading.Event()

    def visit() -> None:
        while not stop.is_set():
            outcomes.append(relied.visitor(server.port, relied.good).visit())

    visiting = threading.Thread(target=visit)
    visiting.start()
    try:
        meanwhile()
    finally:
        stop.set()
        visiting.join()
    assert len(outcomes) > 5
    assert {outcome.status for outcome in outcomes} == {200}, outcomes


def roll_over(relied: Relied, server: Server, crls: Path, reload: tuple[str, ...]) -> None:
    """New CRLs one after the other, the last with somebody on it who is out then."""
    leaving = relied.deliver()
    gone = relied.visitor(server.port, leaving)

    def meanwhile() -> None:
        for _ in range(2):
            relied.system.mycert("crl", "issue")
            relied.fetch_crls(crls, *reload)
        assert gone.visit().accepted
        leaving.deactivate()
        until(lambda: listed(relied, crls, leaving.certificate.serial_number), "never listed")
        relied.fetch_crls(crls, *reload)
        until(lambda: not gone.visit().accepted, "the new CRL is not in force")

    visiting_all_the_time(relied, server, meanwhile)


def listed(relied: Relied, crls: Path, serial: int) -> bool:
    relied.fetch_crls(crls)
    issued = x509.load_pem_x509_crl(crls.with_name(f"{crls.name}.issuing").read_bytes())
    return issued.get_revoked_certificate_by_serial_number(serial) is not None


def plant(relied: Relied, crls: Path, issuing: bytes) -> None:
    """A file as the script never leaves it: the root's CRL, and ``issuing`` (DER) as the issuing CA's."""
    root = crls.with_name(f"{crls.name}.root").read_bytes()
    crls.write_bytes(root + x509.load_der_x509_crl(issuing).public_bytes(Encoding.PEM))
