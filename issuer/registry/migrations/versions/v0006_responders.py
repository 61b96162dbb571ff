"""The OCSP signers' certificates are asked for once a minute, among all that were ever signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    condition = sa.text("profile = 'ocsp'")
    op.create_index(
        "ix_certificates_responders",
        "certificates",
        ["authority", "not_after"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
