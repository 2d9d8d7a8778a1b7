"""Turns a chunk of roster rows into entries, and into rejects that say what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bulkgrants.model import Provider, RejectReason, Tenant
from bulkgrants.rosters.cells import (
    Cell,
    Distinct,
    NotText,
    UnreadableScopes,
    distinct,
    lists_as_json,
    objects,
    raw_column,
    read_cell,
    read_cells,
    read_scopes,
)
from bulkgrants.text import bounded, normalise_addresses, quoted, trimmed

_PERSONAL_DOMAINS = (
    *("gmail.com", "googlemail.com", "msn.com", "outlook.com", "outlook.de", "outlook.fr"),
    *("hotmail.com", "hotmail.co.uk", "hotmail.de", "hotmail.es", "hotmail.fr", "hotmail.it"),
    *("live.com", "live.co.uk", "live.de", "live.fr", "live.nl"),
)
"""Domains of personal accounts; an organisation's admin cannot delegate or consent for them."""
_PERSONAL = tuple(f"@{domain}" for domain in _PERSONAL_DOMAINS)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row, and what the analyst should change."""

    reason: RejectReason
    sentence: str


@dataclass(frozen=True, slots=True)
class Placement:
    """All parts of an entry except its mailbox."""

    provider: str
    tenant: str
    scopes: str
    """Canonical; empty for Microsoft."""
    credential_id: str | None
    """None while the credential is not registered at Nylas."""


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A row that cannot be an entry because of a cell other than its address."""

    problem: Problem
    provider: str | None
    """The tenant's provider, or None if the tenant is unknown."""


@dataclass(frozen=True, slots=True)
class RowCells:
    """The cells of a row, without its address."""

    tenant: Cell
    provider: Cell
    credential: Cell
    scopes: Cell


@dataclass(frozen=True, slots=True)
class Directory:
    """The tenants table in a form for look-ups. Make it with `of`."""

    tenants: Mapping[str, Tenant]
    credential_ids: Mapping[tuple[str, str], str]
    """Maps (provider, credential name) to the id at Nylas."""
    lower: Mapping[str, str]
    """Maps tenants' names in lower case to the names as they are written."""
    credentials: frozenset[tuple[str, str]]
    """(provider, credential name) of every tenant."""

    @classmethod
    def of(
        cls, tenants: Mapping[str, Tenant], credential_ids: Mapping[tuple[str, str], str]
    ) -> Directory:
        """The directory of these tenants (by name) and credential ids."""
        return cls(
            tenants,
            credential_ids,
            {name.lower(): name for name in tenants},
            frozenset((t.provider.value, t.credential) for t in tenants.values()),
        )


@dataclass(frozen=True, slots=True)
class Normalised:
    """A chunk's rows, each in exactly one of the two frames."""

    entries: pd.DataFrame
    """provider, email, tenant, scopes (object: str), credential_id (object: str or None),
    row_number (int64)."""
    rejects: pd.DataFrame
    """row_number (int64), tenant, email (object: str, as written, bounded), provider, mailbox
    (object: str or None), reason, sentence (object: str). `mailbox` is set if the address is valid,
    `provider` if the tenant is known."""


def normalise_chunk(
    frame: pd.DataFrame,
    tenants: Mapping[str, Tenant],
    credential_ids: Mapping[tuple[str, str], str],
) -> Normalised:
    """Sort a chunk's rows into entries and rejects.

    The frame has the columns `row_number` (whole numbers), `tenant` and `email`, and optionally
    `provider`, `credential` and `scopes`, with any dtype and any content; and `unreadable_date`,
    the date as text in rows whose date cannot be read, and null in all others. `credential_ids`
    maps (provider, credential name) to the id at Nylas; an entry whose credential is not registered
    yet has None as its credential_id. No content of a cell makes this raise.
    """
    numbers = frame["row_number"].to_numpy(dtype=np.int64)
    codes, verdicts = _placements(frame, Directory.of(tenants, credential_ids))
    misplaced = np.fromiter((isinstance(v, Misplaced) for v in verdicts), bool, len(verdicts))
    mailboxes, problems = _mailboxes(read_cells(raw_column(frame, "email")))
    problems |= _undated(frame)
    rejected = misplaced[codes]
    rejected[list(problems)] = True
    kept = np.flatnonzero(~rejected)
    entries = _entries(numbers[kept], mailboxes[kept], codes[kept], verdicts)
    found = [
        (row, *_verdict(verdicts[codes[row]], problems.get(row)))
        for row in np.flatnonzero(rejected).tolist()
    ]
    return Normalised(entries, _rejects(frame, numbers, mailboxes, found))


def _placements(
    frame: pd.DataFrame, directory: Directory
) -> tuple[NDArray[np.intp], list[Placement | Misplaced]]:
    """Where each row belongs; each distinct combination of cells is judged only once."""
    columns = [_distinct(frame, name) for name in ("tenant", "provider", "credential", "scopes")]
    codes = np.zeros(len(frame), dtype=np.intp)
    for column in columns:
        codes = pd.factorize(codes * len(column.cells) + column.codes)[0]
    _, firsts = np.unique(codes, return_index=True)
    verdicts = [
        place(RowCells(*[column.cells[column.codes[row]] for column in columns]), directory)
        for row in firsts
    ]
    return codes, verdicts


def _undated(frame: pd.DataFrame) -> dict[int, Problem]:
    """The problem of each row whose date cannot be read."""
    if "unreadable_date" not in frame.columns:
        return {}
    cells = map(read_cell, raw_column(frame, "unreadable_date"))
    return {row: _date_problem(cell) for row, cell in enumerate(cells) if isinstance(cell, str)}


def _date_problem(written: str) -> Problem:
    return Problem(
        RejectReason.UNREADABLE_DATE,
        f"The roster_date cell holds {quoted(written)}, which is not a day; write it like "
        "2026-01-31, or remove the row."
        if written
        else "The roster_date cell is empty, so it is unknown for which day the row is; write the "
        "day, or remove the row.",
    )


def _distinct(frame: pd.DataFrame, name: str) -> Distinct:
    if name not in frame.columns:
        return Distinct(np.zeros(len(frame), dtype=np.intp), [None])
    values = raw_column(frame, name)
    return distinct(read_cells(lists_as_json(values) if name == "scopes" else values))


def _mailboxes(cells: NDArray[np.object_]) -> tuple[NDArray[np.object_], dict[int, Problem]]:
    """The normalised address of each row, or None, and the problems by row."""
    texts = [cell if isinstance(cell, str) else "" for cell in cells]
    found = normalise_addresses(texts)
    problems = {
        row: _address_problem(read_cell(cells[row]), said) for row, said in found.problems.items()
    }
    for row, address in enumerate(found.values):
        if address is not None and address.endswith(_PERSONAL):
            problems[row] = Problem(
                RejectReason.PROVIDER_MISMATCH,
                f"{quoted(address)} is a personal account, for which no tenant's admin can act; "
                "write the person's address at the tenant's own domain.",
            )
    return objects(found.values), problems


def _address_problem(cell: str | NotText | None, said: str) -> Problem:
    if isinstance(cell, NotText):
        return not_text("email", cell)
    if not trimmed(cell or ""):
        return Problem(
            RejectReason.EMPTY_EMAIL,
            "The email cell is empty; write the mailbox's address, or remove the row.",
        )
    return Problem(
        RejectReason.BAD_ADDRESS,
        f"{quoted(cell or '')} is not a mailbox address: {said} Correct the cell.",
    )


def _entries(
    numbers: NDArray[np.int64],
    mailboxes: NDArray[np.object_],
    codes: NDArray[np.intp],
    verdicts: list[Placement | Misplaced],
) -> pd.DataFrame:
    nowhere = Placement("", "", "", None)  # fills the gaps of rejected rows; no entry has it
    placed = [v if isinstance(v, Placement) else nowhere for v in verdicts]
    columns = {
        "provider": objects([p.provider for p in placed])[codes],
        "email": mailboxes,
        "tenant": objects([p.tenant for p in placed])[codes],
        "scopes": objects([p.scopes for p in placed])[codes],
        "credential_id": objects([p.credential_id for p in placed])[codes],
    }
    return _frame(columns, numbers)


def _verdict(verdict: Placement | Misplaced, problem: Problem | None) -> tuple[str | None, Problem]:
    """The provider if it is known, and the problem: the date first, the address last."""
    dated = problem is None or problem.reason is not RejectReason.UNREADABLE_DATE
    if isinstance(verdict, Misplaced) and dated:
        return verdict.provider, verdict.problem
    if problem is None:
        raise ValueError("A row without a problem is not a reject.")
    return verdict.provider, problem


def _rejects(
    frame: pd.DataFrame,
    numbers: NDArray[np.int64],
    mailboxes: NDArray[np.object_],
    found: list[tuple[int, str | None, Problem]],
) -> pd.DataFrame:
    rows = [row for row, _, _ in found]
    columns = {
        "tenant": objects([_written(cell) for cell in raw_column(frame, "tenant")[rows]]),
        "email": objects([_written(cell) for cell in raw_column(frame, "email")[rows]]),
        "provider": objects([provider for _, provider, _ in found]),
        "mailbox": mailboxes[rows],
        "reason": objects([problem.reason.value for _, _, problem in found]),
        "sentence": objects([bounded(problem.sentence, 600) for _, _, problem in found]),
    }
    return _frame(columns, numbers[rows])


def _frame(columns: Mapping[str, NDArray[np.object_]], numbers: NDArray[np.int64]) -> pd.DataFrame:
    """A frame whose text columns stay objects; pandas' own text type would turn None into NaN."""
    series = {name: pd.Series(cells, dtype="object") for name, cells in columns.items()}
    return pd.DataFrame({**series, "row_number": numbers})


def _written(value: object) -> str:
    """A cell for the rejects table: as written, bounded; empty for null."""
    match read_cell(value):
        case None:
            return ""
        case NotText(shown=shown):
            return shown
        case text:
            return bounded(text)


def place(cells: RowCells, directory: Directory) -> Placement | Misplaced:
    """The placement that the cells ask for, or the first problem in them."""
    tenant = _tenant(cells.tenant, directory)
    if isinstance(tenant, Problem):
        return Misplaced(tenant, None)
    provider = tenant.provider.value
    mismatch = _provider(cells.provider, tenant)
    if mismatch is not None:
        return Misplaced(mismatch, provider)
    credential = _credential(cells.credential, tenant, directory)
    if isinstance(credential, Problem):
        return Misplaced(credential, provider)
    scopes = _scopes(cells.scopes, tenant)
    if isinstance(scopes, Problem):
        return Misplaced(scopes, provider)
    credential_id = directory.credential_ids.get((provider, credential))
    return Placement(provider, tenant.tenant, scopes, credential_id)


def not_text(column: str, cell: NotText) -> Problem:
    """The problem of a cell that holds a number, bytes, a date or another value than text."""
    return Problem(
        RejectReason.NOT_TEXT,
        f"The {column} cell holds {quoted(cell.shown)} ({cell.kind}), which is not text; change "
        "the column's type to text in the warehouse, or cast it in the roster's query.",
    )


def _tenant(cell: Cell, directory: Directory) -> Tenant | Problem:
    if isinstance(cell, NotText):
        return not_text("tenant", cell)
    name = trimmed(cell or "")
    if not name:
        return Problem(
            RejectReason.EMPTY_TENANT,
            "The tenant cell is empty; write the name of a tenant from the tenants table.",
        )
    found = directory.tenants.get(name)
    if found is not None:
        return found
    alike = directory.lower.get(name.lower())
    advice = (
        f"write {quoted(alike)}, as it is written there"
        if alike
        else "correct the cell, or have the tenant added there"
    )
    return Problem(
        RejectReason.UNKNOWN_TENANT,
        f"The tenant {quoted(name)} is not in the tenants table; {advice}.",
    )


def _provider(cell: Cell, tenant: Tenant) -> Problem | None:
    if isinstance(cell, NotText):
        return not_text("provider", cell)
    name = trimmed(cell or "").lower()
    if not name or name == tenant.provider.value:
        return None
    return Problem(
        RejectReason.PROVIDER_MISMATCH,
        f"The provider cell says {quoted(name)}, but the tenant {quoted(tenant.tenant)} is at "
        f"{tenant.provider.value}; correct one of them, or leave the provider empty.",
    )


def _credential(cell: Cell, tenant: Tenant, directory: Directory) -> str | Problem:
    if isinstance(cell, NotText):
        return not_text("credential", cell)
    name = trimmed(cell or "") or tenant.credential
    if (tenant.provider.value, name) in directory.credentials:
        return name
    return Problem(
        RejectReason.UNKNOWN_CREDENTIAL,
        f"No {tenant.provider.value} tenant in the tenants table has the credential "
        f"{quoted(name)}; correct it, or leave the cell empty for {quoted(tenant.credential)}.",
    )


def _scopes(cell: Cell, tenant: Tenant) -> str | Problem:
    if isinstance(cell, NotText):
        return Problem(
            RejectReason.UNREADABLE_SCOPES,
            f"The scopes cell holds {quoted(cell.shown)} ({cell.kind}); write the scopes as a list "
            "or as text, separated by blanks, or leave the cell empty for the tenant's scopes.",
        )
    try:
        scopes = read_scopes(cell or "")
    except UnreadableScopes as error:
        return Problem(
            RejectReason.UNREADABLE_SCOPES,
            f"The scopes cell {quoted(cell or '')} cannot be read: {error}; separate the scopes "
            "with blanks, or leave the cell empty for the tenant's scopes.",
        )
    if scopes and tenant.provider is Provider.MICROSOFT:
        return Problem(
            RejectReason.SCOPES_NOT_ALLOWED,
            f"The scopes cell names {quoted(scopes)}, but a Microsoft tenant's scopes come "
            "from its admin's consent; leave the cell empty.",
        )
    return scopes or tenant.scopes
