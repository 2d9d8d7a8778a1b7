"""When the budget was last asked, so that a clock that is set back is noticed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "budgets", sa.Column("asked_at", sa.Float(53), server_default="0", nullable=False)
    )
