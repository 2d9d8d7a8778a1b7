"""What a refused mailbox was asked for, so that its record ends when that changes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COVERAGE = """
    SELECT t.application, t.tenant, t.provider, n.run_id, n.roster_date,
           coalesce(s.desired, 0) AS desired, coalesce(s.granted, 0) AS granted,
           coalesce(s.missing, 0) AS missing, coalesce(s.invalid, 0) AS invalid,
           coalesce(s.blocked, 0) AS blocked, coalesce(s.in_escrow, 0) AS in_escrow
    FROM latest_rosters n
    JOIN tenants t ON t.application = n.application
    LEFT JOIN (
        SELECT e.application, e.tenant, count(*) AS desired,
               count(CASE WHEN g.status = 'valid' AND NOT g.blocked THEN 1 END) AS granted,
               count(CASE WHEN g.email IS NULL THEN 1 END) AS missing,
               count(CASE WHEN g.status = 'invalid' AND NOT g.blocked THEN 1 END) AS invalid,
               count(CASE WHEN g.blocked THEN 1 END) AS blocked,
               count(x.email) AS in_escrow
        FROM entries e
        LEFT JOIN grants g
          ON g.application = e.application AND g.provider = e.provider AND g.email = e.email
         AND g.gone_at IS NULL
        LEFT JOIN escrow x
          ON x.application = e.application AND x.provider = e.provider AND x.email = e.email
         AND x.tenant = e.tenant AND x.scopes = e.scopes AND x.credential_id = e.credential_id
         AND x.refusals > 0
        GROUP BY e.application, e.tenant
    ) s ON s.application = t.application AND s.tenant = t.tenant
    WHERE n.complete AND (t.listed OR s.desired IS NOT NULL)
"""


def upgrade() -> None:
    """Add the columns, and count in `coverage` only the records that still count."""
    op.add_column("escrow", sa.Column("scopes", sa.Text(), server_default="", nullable=False))
    op.add_column("escrow", sa.Column("credential_id", sa.String(length=100), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        # replaced, not dropped: it keeps the rights granted on it, and views that use it work on
        op.execute(f"CREATE OR REPLACE VIEW coverage AS {_COVERAGE}")
    else:
        op.execute("DROP VIEW coverage")
        op.execute(f"CREATE VIEW coverage AS {_COVERAGE}")
