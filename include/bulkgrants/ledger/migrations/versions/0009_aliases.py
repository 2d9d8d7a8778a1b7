"""Under which mailbox Nylas lists a grant that another address has too."""

import sqlalchemy as sa
from alembic import op

from bulkgrants.ledger.database import Exact

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, which the next listing fills, and an index of the few rows that have one."""
    for table in ("observed", "grants"):
        op.add_column(table, sa.Column("alias_of", Exact(), nullable=True))
    known = sa.text("alias_of IS NOT NULL")
    op.create_index(
        "ix_grants_alias_of",
        "grants",
        ["application", "provider", "alias_of"],
        unique=False,
        postgresql_where=known,
        sqlite_where=known,
    )
