"""Finds out which days a roster holds: one partition a day, or none in a plain current table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from bulkgrants.errors import Misconfigured
from bulkgrants.rosters.sources import Source
from bulkgrants.rosters.warehouse import reading, resolve_columns
from bulkgrants.text import bounded


class DateForm(StrEnum):
    """How the warehouse writes roster_date, and so how it must be compared."""

    DATE = "date"
    TIMESTAMP = "timestamp"
    ZONED = "timestamp with time zone"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Partitions:
    """What the newest roster_date of a roster tells."""

    newest: date
    form: DateForm


def newest_partition(engine: Engine, source: Source) -> date | None:
    """The newest day in the roster; None for an empty one or one without roster_date.

    Raises Misconfigured where the roster cannot be read or roster_date holds no dates.
    """
    with reading(engine, source) as connection:
        found = probe(connection, source, resolve_columns(connection, source))
    return found.newest if found else None


def has_partitions(engine: Engine, source: Source) -> bool:
    """Whether the roster has a roster_date column at all. Raises Misconfigured."""
    with reading(engine, source) as connection:
        return "roster_date" in resolve_columns(connection, source)


def partition_exists(engine: Engine, source: Source, day: date) -> bool:
    """Whether the roster has a row for this day. Raises Misconfigured."""
    with reading(engine, source) as connection:
        resolved = resolve_columns(connection, source)
        found = probe(connection, source, resolved)
        if found is None:
            return False
        theirs = resolved["roster_date"]
        origin = source.origin([theirs])
        row = sa.select(sa.literal(1)).select_from(origin).limit(1)
        return connection.scalar(row.where(of_day(origin.c[theirs], found.form, day))) is not None


def probe(connection: Connection, source: Source, resolved: dict[str, str]) -> Partitions | None:
    """The newest roster_date and its form; None without the column or without a row."""
    theirs = resolved.get("roster_date")
    if theirs is None:
        return None
    column = source.origin([theirs]).c[theirs]
    newest = connection.execute(sa.select(sa.func.max(column))).scalar()
    return None if newest is None else _read(newest, source, theirs)


def _read(newest: object, source: Source, column: str) -> Partitions:
    match newest:
        case datetime(tzinfo=None):
            return Partitions(newest.date(), DateForm.TIMESTAMP)
        case datetime():
            return Partitions(newest.astimezone(UTC).date(), DateForm.ZONED)
        case date():
            return Partitions(newest, DateForm.DATE)
        case str():
            try:
                return Partitions(date.fromisoformat(newest.strip()[:10]), DateForm.TEXT)
            except ValueError:
                pass
    raise Misconfigured(
        f'The newest value of "{bounded(column, 60)}" in the {source.shown} is '
        f"{bounded(repr(newest), 60)}, which is no date; make it a DATE, a TIMESTAMP or a text "
        f"like 2026-01-31, or map `roster_date` to another column in `{source.mapping_setting}`."
    )


def of_day(column: sa.ColumnElement[object], form: DateForm, day: date) -> sa.ColumnElement[bool]:
    """The condition for one day's rows, in the type that the warehouse uses.

    A day is midnight to midnight; with a time zone, in UTC.
    """
    following = day + timedelta(days=1)
    match form:
        case DateForm.DATE:
            return column == sa.literal(day, sa.Date)
        case DateForm.TIMESTAMP | DateForm.ZONED:
            zone = UTC if form is DateForm.ZONED else None
            kind = sa.DateTime(timezone=form is DateForm.ZONED)
            first, last = (
                sa.literal(datetime.combine(each, time.min, zone), kind)
                for each in (day, following)
            )
        case DateForm.TEXT:  # a range, as SQLite writes timestamps as text as well
            first, last = sa.literal(day.isoformat()), sa.literal(following.isoformat())
    return sa.and_(column >= first, column < last)
