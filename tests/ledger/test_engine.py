"""A ledger opens, upgrades once however many ask, and says what to do where it cannot."""

from sqlalchemy import inspect
from bulkgrants.ledger.tables import metadata


def test_an_upgraded_ledger_has_every_table(ledger):
    assert set(metadata.tables) <= set(inspect(ledger).get_table_names())
