"""The registry's tables: what the issuer has done, and what relying services are told.

Who writes: the issuer (everything else), the publisher (answers), the mailer (the outbox's
sending state). Web and status only read.
"""

from __future__ import annotations

import sqlalchemy as sa

from issuer.audit.events import events_table
from issuer.registry.database import NAMES, UtcDateTime
from policies.lifecycle import StoreStatus

metadata = sa.MetaData(naming_convention=NAMES)


def _one_per_person(status: StoreStatus) -> sa.Index:
    """Invariant 1: a partial unique index, so that ended stores never count."""
    condition = sa.text(f"status = '{status}'")
    return sa.Index(
        f"uq_stores_one_{status}",
        "ehealth_id",
        unique=True,
        sqlite_where=condition,
        postgresql_where=condition,
    )


_OCSP = sa.text("profile = 'ocsp'")

# Every signature a CA key ever made over a certificate has its row here, written before
# the signature (invariant 2). ``certificate`` is filled when the signed bytes are known.
certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("serial", sa.String(40), primary_key=True),  # lower-case hex, no leading zero octet
    sa.Column("authority", sa.String(32), nullable=False),
    sa.Column("profile", sa.String(32), nullable=False),
    sa.Column("tbs", sa.LargeBinary, nullable=False),
    sa.Column("certificate", sa.LargeBinary),
    sa.Column("not_before", UtcDateTime, nullable=False),
    sa.Column("not_after", UtcDateTime, nullable=False, index=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(
        "ix_certificates_responders", "authority", "not_after", sqlite_where=_OCSP, postgresql_where=_OCSP
    ),
)

stores = sa.Table(
    "stores",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("request_id", sa.String(36), nullable=False, unique=True),
    sa.Column("serial", sa.String(40), sa.ForeignKey("certificates.serial"), unique=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("ehealth_id", sa.String(32), nullable=False, index=True),
    sa.Column("given_name", sa.Text, nullable=False),
    sa.Column("family_name", sa.Text, nullable=False),
    sa.Column("profession_code", sa.Text, nullable=False),
    sa.Column("profession_label", sa.Text),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("key_type", sa.String(16), nullable=False),
    sa.Column("keystore_profile", sa.String(16), nullable=False),
    sa.Column("terms_version", sa.String(32), nullable=False),
    sa.Column("terms_sha256", sa.String(64), nullable=False),
    sa.Column("terms_language", sa.String(8), nullable=False),
    sa.Column("terms_accepted_at", UtcDateTime, nullable=False),
    sa.Column("recipient", sa.LargeBinary, nullable=False),  # X25519 public key of the delivery token
    sa.Column("run", sa.String(36), nullable=False),  # issuance.instance of the issuer that works on it
    sa.Column("renews", sa.String(36)),  # the store whose place this one takes when it is activated
    sa.Column("sha256_fingerprint", sa.String(64)),
    sa.Column("not_before", UtcDateTime),
    sa.Column("not_after", UtcDateTime, index=True),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    sa.Column("activated_at", UtcDateTime),
    sa.Column("retires_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("ended_by", sa.String(16)),  # holder, officer or service
    sa.Column("reason", sa.String(32)),
    sa.Column("delivered_at", UtcDateTime),  # both parts were fetched
    sa.CheckConstraint(
        sa.text("status IN ({})".format(", ".join(f"'{status}'" for status in StoreStatus))), name="status"
    ),
    _one_per_person(StoreStatus.ISSUING),
    _one_per_person(StoreStatus.ACTIVE),
    _one_per_person(StoreStatus.RETIRING),
)

# Requests that ended before their order arrived here: a late order of theirs makes nothing.
abandonments = sa.Table(
    "abandonments",
    metadata,
    sa.Column("request_id", sa.String(36), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
)

# Ciphertext under the holder's delivery token; nobody here can open it. Deleted at
# completion, at the deadline, and whenever the store ends.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("store_id", sa.String(36), sa.ForeignKey("stores.id"), primary_key=True),
    sa.Column("sealed_password", sa.LargeBinary, nullable=False),
    sa.Column("sealed_keystore", sa.LargeBinary, nullable=False),
    sa.Column("deadline", UtcDateTime, nullable=False, index=True),
    sa.Column("password_fetched_at", UtcDateTime),
    sa.Column("keystore_fetched_at", UtcDateTime),
)

# Append-only (a trigger refuses UPDATE and DELETE): a revoked serial never comes back (invariant 3).
revocations = sa.Table(
    "revocations",
    metadata,
    sa.Column("serial", sa.String(40), sa.ForeignKey("certificates.serial"), primary_key=True),
    sa.Column("authority", sa.String(32), nullable=False),
    sa.Column("revoked_at", UtcDateTime, nullable=False),
    sa.Column("reason", sa.String(32), nullable=False),  # policies.reasons.X509Reason
    sa.Column("not_after", UtcDateTime, nullable=False),  # the certificate's, so that a CRL needs no join
    sa.Column("entry", sa.LargeBinary, nullable=False),  # DER of the CRL entry, encoded once
    # Without gaps, and seen by others in this order: whoever sees 7 sees 1 to 6.
    sa.Column("sequence", sa.BigInteger, nullable=False, unique=True),
    sa.Index("ix_revocations_order", "authority", "sequence"),
)

# A number is reserved (``crl`` empty) before it is signed, so that numbers only rise.
# ``covers`` is the highest revocation that it takes in: times cannot say that, for a
# transaction may commit long after the moment that it writes down.
crls = sa.Table(
    "crls",
    metadata,
    sa.Column("authority", sa.String(32), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("this_update", UtcDateTime, nullable=False),
    sa.Column("next_update", UtcDateTime, nullable=False),
    sa.Column("entries", sa.Integer, nullable=False),
    sa.Column("covers", sa.BigInteger, nullable=False),
    sa.Column("crl", sa.LargeBinary),
)

# OCSP answers signed ahead, one for each hash a CertID may use (RFC 6960 4.1.1).
answers = sa.Table(
    "answers",
    metadata,
    sa.Column("authority", sa.String(32), primary_key=True),
    sa.Column("serial", sa.String(40), primary_key=True),
    sa.Column("hash_algorithm", sa.String(8), primary_key=True),
    sa.Column("status", sa.String(8), nullable=False),  # good or revoked
    sa.Column("this_update", UtcDateTime, nullable=False),
    sa.Column("next_update", UtcDateTime, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("batch", sa.BigInteger, nullable=False),
    sa.Index("ix_answers_batch", "authority", "batch"),
    sa.Index("ix_answers_end", "authority", "next_update"),
)

# The number of the newest batch of answers. Its row is locked until the batch commits, so
# that batches are seen in their order, and a follower that saw one has missed none before.
batches = sa.Table(
    "batches",
    metadata,
    sa.Column("authority", sa.String(32), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)

# Append-only (trigger). ``details`` holds no secret and, of the person, the eHealthID alone.
audit_events = events_table("audit_events", metadata)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("store_id", sa.String(36), sa.ForeignKey("stores.id"), index=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("due_at", UtcDateTime, index=True),  # empty once sent or refused for good
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("sent_at", UtcDateTime),
    sa.Column("refused_at", UtcDateTime),
    sa.Column("last_error", sa.Text),
    sa.Column("reminder", sa.Integer),  # days before expiry; empty for what is no reminder
    sa.Index("uq_outbox_reminder", "store_id", "event", "reminder", unique=True),
)
