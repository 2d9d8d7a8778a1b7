"""Runs Alembic's migrations, always on a connection that the caller has opened."""

from alembic import context

from bulkgrants.ledger.tables import runs

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=runs.metadata,
    render_as_batch=False,
)
with context.begin_transaction():
    context.run_migrations()
