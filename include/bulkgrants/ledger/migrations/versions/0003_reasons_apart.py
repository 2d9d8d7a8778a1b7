"""Reasons, codes and messages in separate columns, so that no code has to parse a sentence."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_FATES = """
    SELECT c.run_id, r.application, r.roster_date, c.provider, c.email, c.tenant, c.grant_id,
           c.kind AS change, coalesce(c.outcome, c.kind || ' ' || c.state) AS fate, c.message,
           c.verified, coalesce(c.done_at, r.planned_at) AS happened_at, c.reason
    FROM changes c
    JOIN runs r ON r.id = c.run_id
    UNION ALL
    SELECT s.run_id, r.application, r.roster_date, s.provider, s.email, s.tenant, s.grant_id,
           NULL AS change, 'skipped' AS fate, s.detail, NULL AS verified,
           r.planned_at AS happened_at, s.reason
    FROM skips s
    JOIN runs r ON r.id = s.run_id
    UNION ALL
    SELECT j.run_id, r.application, r.roster_date, j.provider, j.mailbox, j.tenant,
           NULL AS grant_id, NULL AS change, 'rejected' AS fate, j.sentence, NULL AS verified,
           r.opened_at AS happened_at, j.reason
    FROM rejects j
    JOIN runs r ON r.id = j.run_id
    WHERE j.mailbox IS NOT NULL
"""


def upgrade() -> None:
    """Add the columns, split the contents of `changes.detail`, and change the view `fates`."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    if not postgresql:
        op.execute("DROP VIEW fates")
    op.execute("ALTER TABLE changes RENAME COLUMN detail TO message")
    for table in ("changes", "probes"):
        _add(table, "reason", sa.String(length=40))
        _add(table, "code", sa.String(length=100))
    _add("escrow", "code", sa.String(length=100))
    _add("escrow", "message", sa.Text())
    _split(find="strpos" if postgresql else "instr")
    if postgresql:
        # replaced, not dropped: it keeps the rights granted on it, and views that use it work on
        op.execute("ALTER VIEW fates RENAME COLUMN detail TO message")
        op.execute(f"CREATE OR REPLACE VIEW fates AS {_FATES}")
    else:
        op.execute(f"CREATE VIEW fates AS {_FATES}")


def _add(table: str, name: str, kind: sa.types.TypeEngine[str]) -> None:
    op.add_column(table, sa.Column(name, kind, server_default="", nullable=False))


def _split(find: str) -> None:
    """Split "reason: message" at its first colon if a single word comes before it.

    A blank is added for the search, because a reason without a message ended in its colon.
    """
    colon = f"{find}(message || ' ', ': ')"
    op.execute(
        f"UPDATE changes SET reason = substr(message, 1, {colon} - 1), "  # noqa: S608 - fixed words
        f"message = substr(message, {colon} + 2) "
        f"WHERE outcome IN ('refused', 'skipped') AND {colon} BETWEEN 2 AND 41 "
        f"AND {find}(substr(message, 1, {colon} - 1), ' ') = 0"
    )
