"""Which key signed a consent link and which run made it, so that a wait can see what is stale."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of older links neither is known."""
    for name, length in (("key_id", 64), ("asked_by", 300)):
        column = sa.Column(name, sa.String(length=length), server_default="", nullable=False)
        op.add_column("consents", column)
