"""An end is final, a certificate is what was signed, CRL numbers rise: said by the database too.

On SQLite publisher and mailer write the file that the issuer writes: these rules bind their SQL as well.
"""

from __future__ import annotations

from alembic import op

from issuer.registry.append_only import forbid

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SIGNED = "EXISTS (SELECT 1 FROM certificates c WHERE c.serial = NEW.serial AND c.certificate IS NOT NULL)"
_REVOKED = "EXISTS (SELECT 1 FROM revocations r WHERE r.serial = NEW.serial)"
_UNSOUND = f"NEW.status IN ('active', 'retiring') AND (NOT {_SIGNED} OR {_REVOKED})"
_NEWER = (
    "SELECT 1 FROM crls c"
    " WHERE c.authority = {row}.authority AND c.number > {row}.number AND c.crl IS NOT NULL"
)


def upgrade() -> None:
    connection = op.get_bind()
    for table in ("stores", "certificates"):
        forbid(connection, table, "DELETE", "TRUE", name="are_kept")
    forbid(
        connection,
        "stores",
        "UPDATE",
        "(OLD.status IN ('deactivated', 'revoked', 'expired') AND NEW.status <> OLD.status)"
        + _changed("id", "request_id", "ehealth_id", "recipient", "created_at")
        + " OR (OLD.serial IS NOT NULL AND NEW.serial IS DISTINCT FROM OLD.serial)",
        name="end_once",
    )
    for verb in ("INSERT", "UPDATE"):
        forbid(connection, "stores", verb, _UNSOUND, name=f"active_are_signed_{verb.lower()}")
    forbid(
        connection,
        "certificates",
        "UPDATE",
        "OLD.certificate IS NOT NULL"
        + _changed("serial", "authority", "profile", "tbs", "not_before", "not_after", "created_at"),
        name="are_signed_once",
    )
    forbid(
        connection,
        "crls",
        "UPDATE",
        "OLD.crl IS NOT NULL" + _changed("authority", "number", "this_update", "next_update", "covers"),
        name="are_published_once",
    )
    forbid(connection, "crls", "INSERT", f"EXISTS ({_NEWER.format(row='NEW')})", name="numbers_rise")
    forbid(connection, "crls", "DELETE", f"NOT EXISTS ({_NEWER.format(row='OLD')})", name="newest_is_kept")
    forbid(
        connection,
        "answers",
        "UPDATE",
        "OLD.status = 'revoked' AND NEW.status <> OLD.status",
        name="stay_revoked",
    )


def _changed(*columns: str) -> str:
    return "".join(f" OR NEW.{column} IS DISTINCT FROM OLD.{column}" for column in columns)
