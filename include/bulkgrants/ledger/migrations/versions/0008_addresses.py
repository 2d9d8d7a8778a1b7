"""The address of each grant as Nylas writes it, which is sent when it is authenticated again."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; the next listing fills them."""
    for table in ("observed", "grants"):
        op.add_column(table, sa.Column("address", sa.Text(), server_default="", nullable=False))
