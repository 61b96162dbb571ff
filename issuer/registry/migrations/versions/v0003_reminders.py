"""A reminder goes out once for each store and each number of days, whatever restarts (R24)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("reminder", sa.Integer(), nullable=True))
    op.create_index("uq_outbox_reminder", "outbox", ["store_id", "event", "reminder"], unique=True)
