"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from issuer.registry.append_only import forbid_change
from issuer.registry.database import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "code_sends",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("ehealth_id", sa.String(length=32), nullable=False),
        sa.Column("address_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code_sends")),
    )
    op.create_index(op.f("ix_code_sends_address_hmac"), "code_sends", ["address_hmac"], unique=False)
    op.create_index(op.f("ix_code_sends_ehealth_id"), "code_sends", ["ehealth_id"], unique=False)
    op.create_index(op.f("ix_code_sends_sent_at"), "code_sends", ["sent_at"], unique=False)
    op.create_table(
        "journey_events",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=48), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("ehealth_id", sa.String(length=32), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_journey_events")),
    )
    op.create_index(op.f("ix_journey_events_object_id"), "journey_events", ["object_id"], unique=False)
    op.create_table(
        "requests",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ehealth_id", sa.String(length=32), nullable=False),
        sa.Column("given_name", sa.Text(), nullable=False),
        sa.Column("family_name", sa.Text(), nullable=False),
        sa.Column("profession_code", sa.Text(), nullable=False),
        sa.Column("profession_label", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=128), nullable=True),
        sa.Column("terms_version", sa.String(length=32), nullable=True),
        sa.Column("terms_sha256", sa.String(length=64), nullable=True),
        sa.Column("terms_language", sa.String(length=8), nullable=True),
        sa.Column("terms_accepted_at", UtcDateTime(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("keystore_profile", sa.String(length=16), nullable=True),
        sa.Column("code_hmac", sa.LargeBinary(), nullable=True),
        sa.Column("code_sent_at", UtcDateTime(), nullable=True),
        sa.Column("code_expires_at", UtcDateTime(), nullable=True),
        sa.Column("codes_sent", sa.Integer(), nullable=False),
        sa.Column("attempts_left", sa.Integer(), nullable=False),
        sa.Column("recipient", sa.LargeBinary(), nullable=True),
        sa.Column("store_id", sa.String(length=36), nullable=True),
        sa.Column("deadline", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("generating_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "state IN ('created', 'terms-accepted', 'code-sent', 'generating', 'ready', 'delivered', 'cancelled', 'superseded', 'expired', 'failed', 'rejected')",  # noqa: E501
            name=op.f("ck_requests_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_created_at"), "requests", ["created_at"], unique=False)
    op.create_index("uq_requests_idempotency", "requests", ["ehealth_id", "idempotency_key"], unique=True)
    op.create_index(
        "uq_requests_one_unfinished",
        "requests",
        ["ehealth_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('created', 'terms-accepted', 'code-sent', 'generating', 'ready')"),
        postgresql_where=sa.text(
            "state IN ('created', 'terms-accepted', 'code-sent', 'generating', 'ready')"
        ),
    )
    forbid_change(op.get_bind(), "journey_events")
