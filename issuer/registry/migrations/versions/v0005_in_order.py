"""An authority's last revocations and first answers to end are asked for often, however many there are."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_revocations_order", "revocations", ["authority", "sequence"])
    op.drop_index("ix_revocations_authority", "revocations")
    op.create_index("ix_answers_end", "answers", ["authority", "next_update"])
    op.drop_index("ix_answers_next_update", "answers")
