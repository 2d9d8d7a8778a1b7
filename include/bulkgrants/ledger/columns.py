"""What the ledger's tables are made of: their names' pattern, and columns that need a word."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


class Exact(TypeDecorator[str]):
    """Text that sorts and compares by code point, on PostgreSQL as on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Collation "C" on PostgreSQL; SQLite's default is the same order."""
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(Text(collation=collation))


ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows for INTEGER keys only


def added_text(name: str) -> Column[str]:
    """A text that rows from before the column was added have as well, empty."""
    return Column(name, Text, nullable=False, server_default="")
