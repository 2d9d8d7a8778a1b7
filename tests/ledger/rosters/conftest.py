"""Warehouses with small tables, in a different database than the ledger."""

import pytest
from sqlalchemy import MetaData, Table, create_engine, text


@pytest.fixture
def warehouse(database_url):
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def filled(warehouse):
    """A function that makes a table in the warehouse and fills it."""

    def fill(definition, *rows, table="roster"):
        with warehouse.begin() as connection:
            connection.execute(text(f"CREATE TABLE {table} ({definition})"))
        made = Table(table, MetaData())
        with warehouse.begin() as connection:
            made = Table(table, MetaData(), autoload_with=connection)
            if rows:
                names = [column.name for column in made.columns]
                connection.execute(
                    made.insert(), [dict(zip(names, row, strict=True)) for row in rows]
                )
        return warehouse

    return fill
