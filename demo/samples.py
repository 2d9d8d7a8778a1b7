"""The demo's customers: the sample files, two Microsoft tenants, and what each should get."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from demo.folder import ROOT

FOLDER = ROOT / "include" / "samples"
Row = dict[str, str]

MICROSOFT_IDS = {
    "delta": "d3b0a6c1-7c1f-4f0e-9b52-0a4d5e6f7a81",
    "elm": "e14c2f7d-2a63-4c55-8f1b-6b7c8d9e0f12",
}
MICROSOFT_DOMAINS = {f"{name}.example.com": tenant_id for name, tenant_id in MICROSOFT_IDS.items()}
MICROSOFT_TENANTS = tuple(
    {
        "tenant": name,
        "provider": "microsoft",
        "credential": f"{name}-admin-consent",
        "secret_conn_id": "azure_app",
        "scopes": "Mail.ReadWrite User.Read.All",
        "canary": f"canary@{name}.example.com",
        "microsoft_tenant": tenant_id,
    }
    for name, tenant_id in MICROSOFT_IDS.items()
)
MICROSOFT_ROSTER = tuple(
    {"tenant": tenant, "email": f"{name}@{tenant}.example.com"}
    for tenant, name in (("delta", "noor.haddad"), ("delta", "omar.said"), ("elm", "pia.lund"))
)
ADMIN_APPROVES: Mapping[str, bool] = {"delta": True, "elm": False}
MICROSOFT_FATES = {"delta": {"granted"}, "elm": {"awaiting_consent"}}
STANDINGS = {
    "acme": "ready",
    "birch": "ready",
    "cedar": "ready",
    "delta": "ready",
    "elm": "refused",
}
"""How onboarding should end for each tenant."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The sample files' rows, in their order."""

    tenants: Sequence[Row]
    roster: Sequence[Row]
    grants: Sequence[Row]
    """The grants that exist at Nylas beforehand."""
    fates: Sequence[Row]
    """What the first reconcile should make of each roster row."""

    def secret_conn_ids(self) -> list[str]:
        """The Airflow connections that hold the tenants' secrets."""
        return list(dict.fromkeys(tenant["secret_conn_id"] for tenant in self.tenants))

    def directory(self) -> dict[str, list[str]]:
        """The mailboxes that exist at the provider: every sample address but the unknown ones."""
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
    """Read all four files."""
    return Samples(
        tenants=_rows(folder / "tenants.csv"),
        roster=_rows(folder / "roster.csv"),
        grants=_rows(folder / "grants.csv"),
        fates=_rows(folder / "fates.csv"),
    )


def mailbox(written: str) -> str:
    """A sample's address as the ledger spells it; this simple rule is enough for the samples."""
    return written.strip().lower()


def load_warehouse(path: Path, samples: Samples) -> None:
    """Make the tables `tenants` and `roster`, the latter with today's partition."""
    today = datetime.now(UTC).date().isoformat()
    roster = [*samples.roster, *MICROSOFT_ROSTER]
    with sqlite3.connect(path) as warehouse:
        _load(warehouse, "tenants", [*samples.tenants, *MICROSOFT_TENANTS])
        _load(warehouse, "roster", [{"roster_date": today, **row} for row in roster])
    warehouse.close()


def add_to_roster(path: Path, rows: Iterable[Row]) -> None:
    """Add entries to today's partition."""
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
