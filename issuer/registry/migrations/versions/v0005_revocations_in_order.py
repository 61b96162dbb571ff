"""Followers ask for an authority's last revocations at every commit, whatever the number of all."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_revocations_order", "revocations", ["authority", "sequence"])
    op.drop_index("ix_revocations_authority", "revocations")
