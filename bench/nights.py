"""What a nightly run finds: a roster in the warehouse, a listing, and yesterday's grants.

One formula makes a roster and nearly equal grants on SQLite, PostgreSQL and DuckDB. Mailbox number
n has an entry if 0 ≤ n < rows. Of the grants, 1 % are missing, 0.5 % are invalid, 0.5 % have other
scopes, 0.5 % are owned and have no entry, and 0.5 % are foreign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, text

from bulkgrants.ledger import runs
from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.rights import release_lease, writing
from bulkgrants.ledger.tenants import record_tenants
from bulkgrants.model import Mode, Provider, RunKind, Selection, Tenant
from bulkgrants.reconcile.opening import RosterState, open_run

APPLICATION = "standin-application"
CREDENTIAL_ID = "credential-1"
TENANTS = 100
MAIL = "https://www.googleapis.com/auth/gmail.readonly"
OTHER = "https://www.googleapis.com/auth/calendar"

AS_WRITTEN = "'Person.' || (10000000 + n) || '@T' || (100 + n % 100) || '.example.com'"
TENANT = "'tenant ' || (100 + n % 100)"
NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
"""When the nightly runs take place."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How large the sets are, and where they differ."""

    rows: int

    @property
    def missing(self) -> int:
        """How many entries have no grant; they have the lowest numbers."""
        return self.rows // 100

    @property
    def each(self) -> int:
        """How many mailboxes there are of each other difference."""
        return self.rows // 200

    @property
    def end(self) -> int:
        """One past the number of the last grant."""
        return self.rows + 2 * self.each

    def status(self) -> str:
        """The status of grant n: invalid for the first that exist."""
        first = self.missing
        return f"CASE WHEN n < {first + self.each} THEN 'invalid' ELSE 'valid' END"

    def scopes(self) -> str:
        """The scopes of grant n: other scopes for those after the invalid ones."""
        first = self.missing + self.each
        other = f"n >= {first} AND n < {first + self.each}"
        return f"CASE WHEN {other} THEN '{OTHER}' ELSE '{MAIL}' END"

    def owned(self) -> str:
        """Whether grant n is owned."""
        return f"n < {self.rows + self.each}"


def numbers(dialect: str, first: int, end: int) -> str:
    """A subquery of the whole numbers n with first ≤ n < end."""
    if dialect == "sqlite":
        return (
            f"(WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s "
            f"WHERE n < {end - 1}) SELECT n FROM s)"
        )
    series = f"generate_series({first}::bigint, {end - 1}::bigint)"
    return f"(SELECT generate_series AS n FROM {series})"


def duckdb_tables(crowd: Crowd, *, empty: bool) -> Iterator[str]:
    """Statements that load the roster and the grants into DuckDB; `empty` means no grants."""
    email = f"lower({AS_WRITTEN})"
    yield (
        f"CREATE TABLE desired AS SELECT 'google' AS provider, {email} AS email, "
        f"{TENANT} AS tenant, '{MAIL}' AS scopes, '{CREDENTIAL_ID}' AS credential_id "
        f"FROM {numbers('duckdb', 0, crowd.rows)}"
    )
    last = crowd.missing if empty else crowd.end
    yield (
        f"CREATE TABLE actual AS SELECT 'google' AS provider, {email} AS email, "
        f"md5(CAST(n AS VARCHAR)) AS grant_id, {crowd.status()} AS status, "
        f"{crowd.scopes()} AS scopes, '{CREDENTIAL_ID}' AS credential_id, {crowd.owned()} AS owned "
        f"FROM {numbers('duckdb', crowd.missing, last)}"
    )


def warehouse_url(url: str) -> str:
    """Where the roster is: beside a SQLite ledger, and in PostgreSQL's own database."""
    return url.replace(".db", ".warehouse.db") if url.startswith("sqlite") else url


def tenants() -> Mapping[str, Tenant]:
    """A hundred Google tenants with one credential."""
    names = [f"tenant {100 + number}" for number in range(TENANTS)]
    week = timedelta(days=7)
    return {
        name: Tenant(name, Provider.GOOGLE, "sa", "google_sa", MAIL, week, enabled=True)
        for name in names
    }


def open_night(engine: Engine, key: str, now: datetime = NOW) -> int:
    """Open a run that may apply and holds the lease; return its id."""
    run = open_run(
        engine,
        application=APPLICATION,
        key=key,
        kind=RunKind.RECONCILE,
        mode=Mode.APPLY,
        selection=Selection(),
        roster=RosterState(now.date(), now.date(), exact=False, dated=False, newest=None),
        now=now,
    )
    with writing(engine, run, now) as write:
        record_tenants(write, tenants().values())
    return run.run_id


def close_night(engine: Engine, run_id: int) -> None:
    """Release the lease."""
    run = runs.read_run(engine, run_id)
    with engine.begin() as connection:
        release_lease(connection, run)


def really_now() -> datetime:
    """The current time, for steps that depend on it."""
    return datetime.now(UTC)


def load_roster(url: str, crowd: Crowd) -> None:
    """Load the roster into the warehouse, in no particular order, half of it with scopes."""
    engine = open_ledger(warehouse_url(url))
    turned = f"(SELECT (n * 7919) % {crowd.rows} AS n FROM {_numbers(engine, 0, crowd.rows)})"
    with engine.begin() as connection:
        _do(connection, "CREATE TABLE roster (tenant text, email text, scopes text)")
        _do(
            connection,
            f"INSERT INTO roster SELECT {TENANT}, {AS_WRITTEN}, "
            f"CASE WHEN n % 2 = 0 THEN '{MAIL}, openid' END FROM {turned} AS t",
        )
    _settle(engine)


def stage_listing(engine: Engine, crowd: Crowd, *, healthy: bool) -> None:
    """Stage the listing as `observe` does; if healthy, as it was before some grants went wrong."""
    status = "'valid'" if healthy else crowd.status()
    scopes = f"'{MAIL}'" if healthy else crowd.scopes()
    with engine.begin() as connection:
        _do(connection, "DELETE FROM observed")
        _do(
            connection,
            "INSERT INTO observed (application, grant_id, provider, email, status, scopes, "
            "credential_id, blocked, created_at, updated_at) "
            f"SELECT '{APPLICATION}', 'grant-' || (1000000000 + n * 7919), 'google', "
            f"lower({AS_WRITTEN}), {status}, {scopes}, '{CREDENTIAL_ID}', {_false(engine)}, "
            f"1700000000 + n, 1700000000 + n FROM {_numbers(engine, crowd.missing, crowd.end)} t",
        )


def own_grants(engine: Engine, crowd: Crowd) -> None:
    """Make all grants owned, except for the last few, and record their tenants."""
    ours = f"created_at < {1700000000 + crowd.rows + crowd.each}"
    tenant = "'tenant ' || (100 + (created_at - 1700000000) % 100)"
    with engine.begin() as connection:
        _do(connection, f"UPDATE grants SET owned = ({ours}), tenant = {tenant}")
    _settle(engine)


def forget_grants(engine: Engine) -> None:
    """Delete all grants, as if the listing had been empty."""
    with engine.begin() as connection:
        _do(connection, "DELETE FROM grants")
        _do(connection, "DELETE FROM observed")
    _settle(engine)


def _settle(engine: Engine) -> None:
    """Do what the databases' own housekeeping does before the next night."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            _do(connection, "VACUUM ANALYZE")
            _do(connection, "CHECKPOINT")
    engine.dispose()


def _numbers(engine: Engine, first: int, end: int) -> str:
    return numbers(engine.dialect.name, first, end)


def _false(engine: Engine) -> str:
    return "false" if engine.dialect.name == "postgresql" else "0"


def _do(connection: Connection, statement: str) -> None:
    connection.execute(text(statement.replace("::", r"\:\:")))
