"""``python -m tests.bench.crl_process ours|builder DATABASE``: makes one CRL; prints its processor time."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from issuer.clock import system_clock
from issuer.publisher.config import PublisherConfig
from issuer.publisher.crl_issuer import CrlIssuer
from issuer.registry.database import Database
from tests.fixtures.pki import Pki


def main(kind: str, path: str) -> float:
    database = Database(f"sqlite:///{path}", channel="registry")
    pki = Pki.make(system_clock())
    begin = time.process_time()
    if kind == "ours":
        CrlIssuer(database, pki.issuing, PublisherConfig(), system_clock).issue("issuing")
    else:
        _by_builder(database, pki)
    return time.process_time() - begin


def _by_builder(database: Database, pki: Pki) -> bytes:
    """From serial, time and reason, all entries given to the constructor at once."""
    now = system_clock()
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT serial, reason FROM revocations").all()
    entries = []
    for serial, reason in rows:
        entry = x509.RevokedCertificateBuilder(int(serial, 16), now.replace(tzinfo=None))
        if reason != "unspecified":
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags(reason)), critical=False)
        entries.append(entry.build())
    builder = x509.CertificateRevocationListBuilder(
        pki.issuing.certificate.subject, now, now + timedelta(days=7), [], entries
    ).add_extension(x509.CRLNumber(1), critical=False)
    return builder.sign(pki.issuing._key, hashes.SHA384()).public_bytes(Encoding.DER)


print(main(sys.argv[1], sys.argv[2]))
