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
        "abandonments",
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_abandonments")),
    )
    op.create_table(
        "answers",
        sa.Column("authority", sa.String(length=32), nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("hash_algorithm", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("this_update", UtcDateTime(), nullable=False),
        sa.Column("next_update", UtcDateTime(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("authority", "serial", "hash_algorithm", name=op.f("pk_answers")),
    )
    op.create_index("ix_answers_batch", "answers", ["authority", "batch"], unique=False)
    op.create_index(op.f("ix_answers_next_update"), "answers", ["next_update"], unique=False)
    op.create_table(
        "audit_events",
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
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_object_id"), "audit_events", ["object_id"], unique=False)
    op.create_table(
        "batches",
        sa.Column("authority", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("authority", name=op.f("pk_batches")),
    )
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("authority", sa.String(length=32), nullable=False),
        sa.Column("profile", sa.String(length=32), nullable=False),
        sa.Column("tbs", sa.LargeBinary(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificates")),
    )
    op.create_index(op.f("ix_certificates_not_after"), "certificates", ["not_after"], unique=False)
    op.create_table(
        "crls",
        sa.Column("authority", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("this_update", UtcDateTime(), nullable=False),
        sa.Column("next_update", UtcDateTime(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("covers", sa.BigInteger(), nullable=False),
        sa.Column("crl", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("authority", "number", name=op.f("pk_crls")),
    )
    op.create_table(
        "revocations",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("authority", sa.String(length=32), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["serial"], ["certificates.serial"], name=op.f("fk_revocations_serial")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_revocations")),
        sa.UniqueConstraint("sequence", name=op.f("uq_revocations_sequence")),
    )
    op.create_index(op.f("ix_revocations_authority"), "revocations", ["authority"], unique=False)
    op.create_table(
        "stores",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("ehealth_id", sa.String(length=32), nullable=False),
        sa.Column("given_name", sa.Text(), nullable=False),
        sa.Column("family_name", sa.Text(), nullable=False),
        sa.Column("profession_code", sa.Text(), nullable=False),
        sa.Column("profession_label", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("key_type", sa.String(length=16), nullable=False),
        sa.Column("keystore_profile", sa.String(length=16), nullable=False),
        sa.Column("terms_version", sa.String(length=32), nullable=False),
        sa.Column("terms_sha256", sa.String(length=64), nullable=False),
        sa.Column("terms_language", sa.String(length=8), nullable=False),
        sa.Column("terms_accepted_at", UtcDateTime(), nullable=False),
        sa.Column("recipient", sa.LargeBinary(), nullable=False),
        sa.Column("run", sa.String(length=36), nullable=False),
        sa.Column("sha256_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("not_after", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("activated_at", UtcDateTime(), nullable=True),
        sa.Column("retires_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("ended_by", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "status IN ('issuing', 'active', 'retiring', 'deactivated', 'revoked', 'expired')",
            name=op.f("ck_stores_status"),
        ),
        sa.ForeignKeyConstraint(["serial"], ["certificates.serial"], name=op.f("fk_stores_serial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stores")),
        sa.UniqueConstraint("request_id", name=op.f("uq_stores_request_id")),
        sa.UniqueConstraint("serial", name=op.f("uq_stores_serial")),
    )
    op.create_index(op.f("ix_stores_created_at"), "stores", ["created_at"], unique=False)
    op.create_index(op.f("ix_stores_ehealth_id"), "stores", ["ehealth_id"], unique=False)
    op.create_index(op.f("ix_stores_not_after"), "stores", ["not_after"], unique=False)
    op.create_index(
        "uq_stores_one_active",
        "stores",
        ["ehealth_id"],
        unique=True,
        sqlite_where=sa.text("status = 'active'"),
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_index(
        "uq_stores_one_issuing",
        "stores",
        ["ehealth_id"],
        unique=True,
        sqlite_where=sa.text("status = 'issuing'"),
        postgresql_where=sa.text("status = 'issuing'"),
    )
    op.create_index(
        "uq_stores_one_retiring",
        "stores",
        ["ehealth_id"],
        unique=True,
        sqlite_where=sa.text("status = 'retiring'"),
        postgresql_where=sa.text("status = 'retiring'"),
    )
    op.create_table(
        "deliveries",
        sa.Column("store_id", sa.String(length=36), nullable=False),
        sa.Column("sealed_password", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_keystore", sa.LargeBinary(), nullable=False),
        sa.Column("deadline", UtcDateTime(), nullable=False),
        sa.Column("password_fetched_at", UtcDateTime(), nullable=True),
        sa.Column("keystore_fetched_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_deliveries_store_id")),
        sa.PrimaryKeyConstraint("store_id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_deadline"), "deliveries", ["deadline"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("store_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("refused_at", UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["store_id"], ["stores.id"], name=op.f("fk_outbox_store_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_due_at"), "outbox", ["due_at"], unique=False)
    op.create_index(op.f("ix_outbox_store_id"), "outbox", ["store_id"], unique=False)
    forbid_change(op.get_bind(), "audit_events")
    forbid_change(op.get_bind(), "revocations")
