"""The journey's tables: what a person is in the middle of. Written by web alone, purged after a day (R32)."""

from __future__ import annotations

import sqlalchemy as sa

from issuer.audit.events import events_table
from issuer.registry.database import NAMES, UtcDateTime
from policies.lifecycle import UNFINISHED, RequestState

metadata = sa.MetaData(naming_convention=NAMES)

_IS_UNFINISHED = sa.text("state IN ({})".format(", ".join(f"'{state}'" for state in UNFINISHED)))

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("ehealth_id", sa.String(32), nullable=False),
    sa.Column("given_name", sa.Text, nullable=False),
    sa.Column("family_name", sa.Text, nullable=False),
    sa.Column("profession_code", sa.Text, nullable=False),
    sa.Column("profession_label", sa.Text),
    sa.Column("idempotency_key", sa.String(128)),
    sa.Column("terms_version", sa.String(32)),
    sa.Column("terms_sha256", sa.String(64)),
    sa.Column("terms_language", sa.String(8)),
    sa.Column("terms_accepted_at", UtcDateTime),
    sa.Column("email", sa.Text),
    sa.Column("language", sa.String(8)),
    sa.Column("keystore_profile", sa.String(16)),
    # HMAC-SHA-256 of the code under a key that is not in this database (R12).
    sa.Column("code_hmac", sa.LargeBinary),
    sa.Column("code_expires_at", UtcDateTime),
    sa.Column("codes_sent", sa.Integer, nullable=False),
    sa.Column("attempts_left", sa.Integer, nullable=False),
    # X25519 public key derived from the delivery token; the token itself is nowhere.
    sa.Column("recipient", sa.LargeBinary),
    sa.Column("store_id", sa.String(36)),
    sa.Column("renews", sa.String(36)),  # the store that the new one takes the place of
    sa.Column("deadline", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    sa.Column("generating_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.CheckConstraint(
        sa.text("state IN ({})".format(", ".join(f"'{state}'" for state in RequestState))), name="state"
    ),
    sa.Index(
        "uq_requests_one_unfinished",
        "ehealth_id",
        unique=True,
        sqlite_where=_IS_UNFINISHED,
        postgresql_where=_IS_UNFINISHED,
    ),
    sa.Index("uq_requests_idempotency", "ehealth_id", "idempotency_key", unique=True),
)

# One row a code sent, for the caps by address and by person; the address only as a keyed hash.
code_sends = sa.Table(
    "code_sends",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("ehealth_id", sa.String(32), nullable=False, index=True),
    sa.Column("address_hmac", sa.LargeBinary, nullable=False, index=True),
    sa.Column("sent_at", UtcDateTime, nullable=False, index=True),
)

# The portal's sessions (api/portal/sessions.py). Nothing here leads to a cookie, and without one the
# content cannot be read.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.LargeBinary, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    # SHA-256 of the provider's own session id, for its log-out.
    sa.Column("provider_session", sa.LargeBinary, index=True),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# The journey's half of the audit trail.
journey_events = events_table("journey_events", metadata)
