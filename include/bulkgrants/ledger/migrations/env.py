"""How Alembic reaches the ledger: always over a connection that the caller opened."""

from alembic import context

from bulkgrants.ledger.tables import runs

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=runs.metadata,
    render_as_batch=False,
)
with context.begin_transaction():
    context.run_migrations()
