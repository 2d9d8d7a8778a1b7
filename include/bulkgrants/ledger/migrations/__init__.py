"""The ledger's revisions, for Alembic."""
