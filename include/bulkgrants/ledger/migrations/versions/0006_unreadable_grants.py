"""Items of a listing that could not be read, what else was odd, and former credentials."""

import sqlalchemy as sa
from alembic import op

from bulkgrants.ledger.database import Exact, Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_RUN_COUNTS = """
    SELECT r.id AS run_id, r.application, r.key, r.kind, r.mode, r.mode_reason, r.roster_date,
           (r.mailbox IS NULL AND r.tenants IS NULL) AS whole,
           r.opened_at, r.planned_at, r.closed_at, r.entries, r.rejected, r.observed,
           coalesce(CAST(r.counts ->> 'unchanged' AS BIGINT), 0) AS unchanged,
           coalesce(CAST(r.counts ->> 'foreign' AS BIGINT), 0) AS foreign_grants,
           coalesce(CAST(r.counts ->> 'create' AS BIGINT), 0) AS creates,
           coalesce(CAST(r.counts ->> 'renew' AS BIGINT), 0) AS renews,
           coalesce(CAST(r.counts ->> 'rescope' AS BIGINT), 0) AS rescopes,
           coalesce(CAST(r.counts ->> 'revoke' AS BIGINT), 0) AS revokes,
           coalesce(CAST(r.counts ->> 'granted' AS BIGINT), 0) AS granted,
           coalesce(CAST(r.counts ->> 'renewed' AS BIGINT), 0) AS renewed,
           coalesce(CAST(r.counts ->> 'rescoped' AS BIGINT), 0) AS rescoped,
           coalesce(CAST(r.counts ->> 'refused' AS BIGINT), 0) AS refused,
           coalesce(CAST(r.counts ->> 'skipped' AS BIGINT), 0) AS skipped,
           coalesce(CAST(r.counts ->> 'open' AS BIGINT), 0) AS left_open,
           coalesce(CAST(r.counts ->> 'verified' AS BIGINT), 0) AS verified,
           coalesce(CAST(r.counts ->> 'drift' AS BIGINT), 0) AS drifted,
           coalesce(CAST(r.counts ->> 'attempts' AS BIGINT), 0) AS attempts,
           coalesce(CAST(r.counts ->> 'unreadable' AS BIGINT), 0) AS unreadable
    FROM runs r
"""


def upgrade() -> None:
    """Add tables and a column, and replace the view by one with a further column at its end."""
    op.create_table(
        "unreadable_grants",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("grant_id", sa.String(length=100), nullable=True),
        sa.Column("provider", sa.String(length=20), nullable=True),
        sa.Column("email", Exact(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unreadable_grants")),
    )
    for column in ("email", "grant_id"):
        op.create_index(
            op.f(f"ix_unreadable_grants_run_id_{column}"),
            "unreadable_grants",
            ["run_id", column],
            unique=False,
        )
    op.create_table(
        "former_credentials",
        sa.Column("application", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("credential_id", sa.String(length=100), nullable=False),
        sa.Column("name", Exact(), nullable=False),
        sa.Column("replaced_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint(
            "application", "provider", "credential_id", name=op.f("pk_former_credentials")
        ),
    )
    op.add_column("runs", sa.Column("listing_note", sa.Text(), server_default="", nullable=False))
    if op.get_bind().dialect.name == "postgresql":
        # replaced, not dropped: it keeps the rights granted on it, and views that use it work on
        op.execute(f"CREATE OR REPLACE VIEW run_counts AS {_RUN_COUNTS}")
    else:
        op.execute("DROP VIEW run_counts")
        op.execute(f"CREATE VIEW run_counts AS {_RUN_COUNTS}")
