"""What became of each sample mailbox, as the ledger tells it, and what should have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from bulkgrants.ledger.engine import reading
from demo.samples import Row, Samples, mailbox

_MADE = {
    "create": "it had no grant",
    "renew": "its grant was invalid; id and history are kept",
    "rescope": "its grant had other scopes; id and history are kept",
}


@dataclass(frozen=True, slots=True)
class Fate:
    """One line of the table."""

    tenant: str
    email: str
    before: str
    fate: str
    why: str
    expected: str

    @property
    def as_expected(self) -> bool:
        """Whether it is what the samples say."""
        return self.fate == self.expected


def of_roster_rows(ledger: Engine, run_key: str, samples: Samples) -> list[Fate]:
    """A line for each roster row, in its order."""
    before = _before(samples)
    with reading(ledger).connect() as connection:
        run_id = _run_id(connection, run_key)
        rejected = _rejected(connection, run_id)
        staged = _staged(connection)
        decided = _decided(connection, run_id)
        owned = _owned(connection)
    fates = []
    for number, (row, expected) in enumerate(zip(samples.roster, samples.fates, strict=True), 1):
        address = staged.get(number, "")
        if number in rejected:
            fate, why = rejected[number]
        elif address in decided:
            fate, why = decided[address]
        elif address in owned:
            fate, why = "adopted", "it was as the roster asks; it counts as ours from now on"
        else:
            fate, why = "lost", "the ledger says nothing of this row"
        fates.append(_line(row, before, fate, why, expected["fate"]))
    return fates


def of_orphans(ledger: Engine, samples: Samples) -> list[Fate]:
    """A line for each grant that no roster row asks for."""
    before = _before(samples)
    wanted = {mailbox(row["email"]) for row in samples.roster}
    with reading(ledger).connect() as connection:
        rows = connection.execute(text("SELECT email, owned FROM orphans"))
        found = {row.email: "owned" if row.owned else "orphan" for row in rows}
    why = "no roster row asks for it and it is not ours: reported, and never touched"
    return [
        _line(
            {"tenant": "", "email": grant["email"]},
            before,
            found.get(mailbox(grant["email"]), "lost"),
            why,
            "orphan",
        )
        for grant in samples.grants
        if mailbox(grant["email"]) not in wanted
    ]


def counts_of(ledger: Engine, run_key: str) -> dict[str, int]:
    """A run's counts, as in its report."""
    from bulkgrants.ledger.tables import runs  # noqa: PLC0415 - needed here alone

    with reading(ledger).connect() as connection:
        query = runs.select().where(runs.c.key == run_key)
        counts: dict[str, int] = connection.execute(query).one().counts
    return counts


def credential_ids(ledger: Engine) -> dict[str, str]:
    """The registered credentials' ids, by name."""
    with reading(ledger).connect() as connection:
        rows = connection.execute(text("SELECT name, credential_id FROM credentials"))
        return {row.name: row.credential_id for row in rows}


def _before(samples: Samples) -> Mapping[str, str]:
    return {mailbox(grant["email"]): grant["status"] for grant in samples.grants}


def _line(row: Row, before: Mapping[str, str], fate: str, why: str, expected: str) -> Fate:
    email = row["email"]
    return Fate(row["tenant"], email, before.get(mailbox(email), "none"), fate, why, expected)


def _run_id(connection: Connection, run_key: str) -> int:
    query = text("SELECT id FROM runs WHERE key = :key")
    return int(connection.execute(query, {"key": run_key}).scalar_one())


def _rejected(connection: Connection, run_id: int) -> dict[int, tuple[str, str]]:
    query = text("SELECT row_number, reason, sentence FROM rejects WHERE run_id = :run")
    rows = connection.execute(query, {"run": run_id})
    return {row.row_number: (row.reason, row.sentence) for row in rows}


def _staged(connection: Connection) -> dict[int, str]:
    """Which mailbox each row of the roster is about."""
    rows = connection.execute(text("SELECT row_number, email FROM entries"))
    return {row.row_number: row.email for row in rows}


def _decided(connection: Connection, run_id: int) -> dict[str, tuple[str, str]]:
    """What was done with each mailbox that differed, or why nothing was."""
    changes = text("SELECT email, kind, outcome, reason, message FROM changes WHERE run_id = :run")
    found = {
        row.email: (
            row.outcome or "open",
            _why(row.reason, row.message) or _MADE.get(row.kind, row.kind),
        )
        for row in connection.execute(changes, {"run": run_id})
    }
    skips = text("SELECT email, reason, detail FROM skips WHERE run_id = :run")
    for row in connection.execute(skips, {"run": run_id}):
        found[row.email] = (row.reason, row.detail or "left as it is")
    return found


def _why(reason: str, message: str) -> str:
    """The sentence alone; what the API answered is in brackets behind it, in the ledger."""
    return f"{reason}: {message.partition(' (')[0]}" if reason else ""


def _owned(connection: Connection) -> set[str]:
    rows = connection.execute(text("SELECT email FROM grants WHERE owned AND status = 'valid'"))
    return {row.email for row in rows}
