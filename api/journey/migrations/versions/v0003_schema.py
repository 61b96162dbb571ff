"""The schema of the first release.

Its number is that of the last of the steps it was first made in: who went through them has it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from issuer.registry.append_only import forbid_change
from issuer.registry.database import UtcDateTime

revision = "0003"
down_revision = None
branch_labels = None
depends_on = None

_UNFINISHED = sa.text("state IN ('created', 'terms-accepted', 'code-sent', 'generating', 'ready')")


def upgrade() -> None:
    op.create_table(
        "requests",
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
        sa.Column("code_hmac", sa.LargeBinary),
        sa.Column("code_expires_at", UtcDateTime),
        sa.Column("codes_sent", sa.Integer, nullable=False),
        sa.Column("attempts_left", sa.Integer, nullable=False),
        sa.Column("recipient", sa.LargeBinary),
        sa.Column("store_id", sa.String(36)),
        sa.Column("renews", sa.String(36)),
        sa.Column("deadline", UtcDateTime),
        sa.Column("created_at", UtcDateTime, nullable=False, index=True),
        sa.Column("generating_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
        sa.CheckConstraint(
            "state IN ('created', 'terms-accepted', 'code-sent', 'generating', 'ready', 'delivered',"
            " 'cancelled', 'superseded', 'expired', 'failed', 'rejected')",
            name="state",
        ),
        sa.Index(
            "uq_requests_one_unfinished",
            "ehealth_id",
            unique=True,
            sqlite_where=_UNFINISHED,
            postgresql_where=_UNFINISHED,
        ),
        sa.Index("uq_requests_idempotency", "ehealth_id", "idempotency_key", unique=True),
    )
    op.create_table(
        "code_sends",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("ehealth_id", sa.String(32), nullable=False, index=True),
        sa.Column("address_hmac", sa.LargeBinary, nullable=False, index=True),
        sa.Column("sent_at", UtcDateTime, nullable=False, index=True),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.LargeBinary, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("provider_session", sa.LargeBinary, index=True),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
    )
    op.create_table(
        "journey_events",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(48), nullable=False),
        sa.Column("object_id", sa.String(64), nullable=False, index=True),
        sa.Column("ehealth_id", sa.String(32)),
        sa.Column("details", sa.JSON, nullable=False),
    )
    forbid_change(op.get_bind(), "journey_events")
