"""What became of each mailbox and tenant according to the ledger, and what should have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.text import Text
from sqlalchemy import Connection, Engine, text
from sqlalchemy import Row as Record

from bulkgrants.ledger.database import reading
from bulkgrants.ledger.tables import runs
from bulkgrants.model import Outcome
from bulkgrants.refusals import recorded_refusal
from demo.samples import MICROSOFT_FATES, MICROSOFT_ROSTER, STANDINGS, Row, Samples, mailbox
from demo.terminal import Terminal
from demo.world import ONBOARDING

DONE = {Outcome.GRANTED, Outcome.RENEWED, Outcome.RESCOPED}
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
    with reading(ledger) as connection:
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
            fate, why = "adopted", "it was as the roster asks; it is owned from now on"
        else:
            fate, why = "lost", "the ledger does not mention this row"
        fates.append(_line(row, before, fate, why, expected["fate"]))
    return fates


def of_orphans(ledger: Engine, samples: Samples) -> list[Fate]:
    """A line for each grant that no roster row asks for."""
    before = _before(samples)
    wanted = {mailbox(row["email"]) for row in samples.roster}
    with reading(ledger) as connection:
        rows = connection.execute(text("SELECT email, owned FROM orphans"))
        found = {row.email: "owned" if row.owned else "orphan" for row in rows}
    why = "no roster row asks for it and it is not owned: reported, and never touched"
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
    with reading(ledger) as connection:
        query = runs.select().where(runs.c.key == run_key)
        counts: dict[str, int] = connection.execute(query).one().counts
    return counts


def credential_ids(ledger: Engine) -> dict[str, str]:
    """The registered credentials' ids, by name."""
    with reading(ledger) as connection:
        rows = connection.execute(text("SELECT name, credential_id FROM credentials"))
        return {row.name: row.credential_id for row in rows}


def show(terminal: Terminal, fates: list[Fate]) -> None:
    """Print the table of who got what, and why."""
    rows = [
        (
            line.tenant,
            line.email.strip(),
            line.before,
            Text(line.fate if line.as_expected else f"{line.fate}!", style=_style(line)),
            line.why,
        )
        for line in fates
    ]
    terminal.table("Who got what, and why", ("tenant", "mailbox", "before", "fate", "why"), rows)


def tell_standings(terminal: Terminal, ledger: Engine) -> list[str]:
    """Print the standing of every tenant; return complaints."""
    query = text("SELECT tenant, provider, standing, error FROM onboarding ORDER BY tenant")
    with reading(ledger) as connection:
        rows = connection.execute(query).all()
    for row in rows:
        next_step = _next_step(row.tenant, row.error) if row.standing == "refused" else ""
        terminal.say(f"Tenant {row.tenant} ({row.provider}) is {row.standing}{next_step}")
    found = {row.tenant: row.standing for row in rows}
    return [] if found == STANDINGS else [f"The tenants should be {STANDINGS}, but are {found}."]


def _next_step(tenant: str, error: str) -> str:
    return (
        f" ({error}). What to do next: talk to the admin, then trigger {ONBOARDING} "
        f"with `tenants` set to {tenant}"
    )


def tell_microsoft(terminal: Terminal, ledger: Engine, run_key: str) -> list[str]:
    """Print what became of the Microsoft mailboxes; return complaints."""
    query = text(
        "SELECT f.tenant, f.email, f.fate, f.reason FROM fates f JOIN runs r ON r.id = f.run_id "
        "WHERE r.key = :key AND f.tenant IN ('delta', 'elm') "
        "AND f.email NOT LIKE 'canary@%' ORDER BY f.email"
    )
    with reading(ledger) as connection:
        rows = connection.execute(query, {"key": run_key}).all()
    complaints = [] if len(rows) == len(MICROSOFT_ROSTER) else ["Microsoft mailboxes are missing."]
    for row in rows:
        fate = row.reason if row.fate == "skipped" else row.fate
        terminal.say(f"{row.email}: {fate}")
        if fate not in MICROSOFT_FATES[row.tenant]:
            wanted = MICROSOFT_FATES[row.tenant]
            complaints.append(f"{row.email} should be {wanted}, but is {fate}.")
    return complaints


def _style(line: Fate) -> str:
    if not line.as_expected:
        return "bold red"
    return "green" if line.fate in DONE else "yellow"


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
    """The mailbox of each roster row, by row number."""
    rows = connection.execute(text("SELECT row_number, email FROM entries"))
    return {row.row_number: row.email for row in rows}


def _decided(connection: Connection, run_id: int) -> dict[str, tuple[str, str]]:
    """What was done about each mailbox that differed, or why nothing was done."""
    changes = text(
        "SELECT email, kind, outcome, reason, code, message FROM changes WHERE run_id = :run"
    )
    found = {
        row.email: (row.outcome or "open", _why(row) or _MADE.get(row.kind, row.kind))
        for row in connection.execute(changes, {"run": run_id})
    }
    skips = text("SELECT email, reason, detail FROM skips WHERE run_id = :run")
    for row in connection.execute(skips, {"run": run_id}):
        found[row.email] = (row.reason, row.detail or "left as it is")
    return found


def _why(change: Record[tuple[str, ...]]) -> str:
    """Why a change was not made: what its refusal means, or why it was skipped."""
    if change.outcome == Outcome.REFUSED:
        return f"{change.reason}: {recorded_refusal(change.reason, change.code).meaning}"
    return f"{change.reason}: {change.message}" if change.reason else ""


def _owned(connection: Connection) -> set[str]:
    rows = connection.execute(text("SELECT email FROM grants WHERE owned AND status = 'valid'"))
    return {row.email for row in rows}
