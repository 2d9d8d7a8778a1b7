"""The sample files: into the warehouse goes what analysts supply, the rest says what to expect."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from demo import microsoft
from demo.folder import ROOT

FOLDER = ROOT / "include" / "samples"
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    """The sample files' rows, in their order."""

    tenants: Sequence[Row]
    roster: Sequence[Row]
    grants: Sequence[Row]
    """What exists at Nylas beforehand."""
    fates: Sequence[Row]
    """What the first reconcile makes of each roster row."""

    def secret_conn_ids(self) -> list[str]:
        """The Airflow connections that hold the tenants' secrets."""
        return list(dict.fromkeys(tenant["secret_conn_id"] for tenant in self.tenants))

    def directory(self) -> dict[str, list[str]]:
        """The mailboxes that the provider knows: every sample address but the unknown ones."""
        unknown = {mailbox(row["email"]) for row in self.fates if row["fate"] == "refused"}
        named = {mailbox(row["email"]) for row in (*self.roster, *self.grants)}
        known: dict[str, list[str]] = {}
        for address in sorted(named):
            name, _, domain = address.rpartition("@")
            if name and domain:
                known.setdefault(domain, [])
                if address not in unknown:
                    known[domain].append(address)
        return known


def read_samples(folder: Path = FOLDER) -> Samples:
    """All four files."""
    return Samples(
        tenants=_rows(folder / "tenants.csv"),
        roster=_rows(folder / "roster.csv"),
        grants=_rows(folder / "grants.csv"),
        fates=_rows(folder / "fates.csv"),
    )


def mailbox(written: str) -> str:
    """A sample's address as the ledger spells it; enough for samples, and no more than that."""
    return written.strip().lower()


def load_warehouse(path: Path, samples: Samples) -> None:
    """Make the tables `tenants` and `roster`, the latter with today's partition."""
    today = datetime.now(UTC).date().isoformat()
    with sqlite3.connect(path) as warehouse:
        tenants = [*samples.tenants, *microsoft.TENANTS]
        roster = [*samples.roster, *microsoft.ROSTER]
        _load(warehouse, "tenants", tenants)
        _load(warehouse, "roster", [{"roster_date": today, **row} for row in roster])
    warehouse.close()


def add_to_roster(path: Path, rows: Iterable[Row]) -> None:
    """More entries for today."""
    today = datetime.now(UTC).date().isoformat()
    with sqlite3.connect(path) as warehouse:
        warehouse.executemany(
            "INSERT INTO roster (roster_date, tenant, email) VALUES (?, ?, ?)",
            [(today, row["tenant"], row["email"]) for row in rows],
        )
    warehouse.close()


def _load(warehouse: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    warehouse.execute(f"CREATE TABLE {table} ({', '.join(f'{name} TEXT' for name in names)})")
    warehouse.executemany(
        f"INSERT INTO {table} VALUES ({', '.join('?' for _ in names)})",
        [[row.get(name) or None for name in names] for row in rows],  # an empty cell is null
    )


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
