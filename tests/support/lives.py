"""Lives a random world, night after night, as tasks of Airflow would: each is tried a few times."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from threading import Event

from sqlalchemy import Connection, Engine, event, insert

from bulkgrants.errors import Misconfigured, NotPropagated, Retriable, Superseded
from bulkgrants.ledger import consents, onboarding, runs
from bulkgrants.ledger.rights import answering, claim_batch, release_hold, writing
from bulkgrants.ledger.tables import entries, tenants
from bulkgrants.ledger.tenants import record_credential
from bulkgrants.model import (
    Awaiting,
    ConsentStatus,
    CredentialType,
    Mode,
    Onboarding,
    Provider,
    RegisteredCredential,
    Run,
    RunKind,
    Selection,
)
from bulkgrants.onboarding.propagation import Pace, advance
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.observe import observe
from bulkgrants.reconcile.opening import RosterState, open_run
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import Report, close_run
from bulkgrants.reconcile.verify import verify
from support.elsewhere import (
    ANSWERS,
    CANARIES,
    CREDENTIALS,
    OURS_AT_MICROSOFT,
    REFUSALS,
    TENANTS,
    Blocking,
    Elsewhere,
    provider_of,
    tenant_of,
)
from support.ledgers import APPLICATION, NOW, entry, let_lapse, rows
from support.processes import Died, Process, Second, running
from support.worlds import Drawn, Roster

TRIES = 3
"""How often a task is tried, as Airflow retries it. In calm nights, another try is the same."""
DAY = timedelta(days=1)
AT_ONCE = Pace(floor=timedelta(), deadline=2 * DAY)
"""Probes are due in the night of the answer; two nights later, one that was refused is the last."""
SOON_ENDED = "SET LOCAL idle_in_transaction_session_timeout = '10ms'"
"""Instead of the 15 seconds after which PostgreSQL ends the transaction of a frozen process."""


class Failed(Exception):
    """A task has failed as often as it is tried."""


class World:
    """A drawn world, and the nights in it."""

    def __init__(self, engine: Engine, world: Drawn) -> None:
        self.engine, self.nylas = engine, Elsewhere()
        self.now, self.number = NOW, 0
        self._batch_size = world.batch_size
        self._calm = False
        self._faults, self._cuts, self._steps = map(iter, (world.faults, world.cuts, world.steps))
        self._stops, self._turns = iter(world.stops), iter(world.turns)
        self._stop = next(self._stops, None)
        self._late: BaseException | None = None
        self._was_listed = False
        self._other: Second | None = None
        self._roster: Roster = {}
        self._numbers = itertools.count(1)
        self._named: tuple[str, ...] = ()
        self.nylas.before, self.nylas.after = self._before, self._after
        self.nylas.cut = self._cut
        self.nylas.lag = world.lag
        self.nylas.ties = None if world.ties is None else Random(world.ties)
        self.nylas.refusing = {email: ANSWERS[name] for email, name in world.refusing.items()}
        self.nylas.troubles = {name: ANSWERS[what] for name, what in world.troubles.items()}
        for email, seed in world.seeds.items():
            self.nylas.seed(email, **seed)
        for provider, credential_id in CREDENTIALS.items():
            self._register(provider, credential_id)
        event.listen(engine, "before_cursor_execute", self._before_statement)

    def _register(self, provider: Provider, credential_id: str) -> None:
        microsoft = provider is Provider.MICROSOFT
        record_credential(
            self.engine,
            RegisteredCredential(credential_id, "", NOW, None),
            application=APPLICATION,
            provider=provider,
            name="ms" if microsoft else "sa",
            credential_type=CredentialType.ADMIN_CONSENT
            if microsoft
            else CredentialType.SERVICE_ACCOUNT,
        )

    # What happens between nights

    def happen(self, what: str, whom: str) -> None:
        """Let another party change a grant, or an admin or a person decide about a tenant."""
        if what == "probe":
            self._ask_for_more(whom)
        elif whom in TENANTS:
            self.nylas.decide(what, whom)
        else:
            self.nylas.happen(what, whom)

    def _ask_for_more(self, tenant: str) -> None:
        """Let a tenant that is ready wait for a probe, as it does when it requires more scopes."""
        ready = (tenants.c.tenant == tenant, tenants.c.awaiting.is_(None))
        with self.engine.begin() as connection:
            connection.execute(
                tenants.update().where(*ready).values(awaiting=Awaiting.PROPAGATION, ready_at=None)
            )

    def calm(self) -> None:
        """Let nothing more go wrong, except for mailboxes and tenants that are never granted."""
        self._calm = True
        self.nylas.lag, self.nylas.ties, self.nylas.cut = 0, None, lambda offset: None

    def relieve(self) -> None:
        """End all troubles of tenants; the next night onboards them by their names."""
        self.nylas.relieve()
        self._named = tuple(CANARIES)

    # A night

    async def night(self, roster: Roster, second: Second | None = None) -> Report | None:
        """Onboard tenants and make a run; None if it had no plan, or if another run took over.

        The run takes the lease of the one before, unless it is a `second` one that finds it held.
        """
        self.number += 1
        self.now += DAY
        self.nylas.now += int(DAY.total_seconds())
        self._roster = roster
        self.nylas.allowed |= roster.keys()
        process, number = Process(second), self.number
        if second is None:
            let_lapse(self.engine)
            self._loop, lost = asyncio.get_running_loop(), self._lost_consents()
        try:
            await self._onboard(process, f"onboard {number}")
            return await self._run(process, f"night {number}", roster)
        except (Superseded, Failed):
            return None
        finally:
            if second is None:
                self._let_other_finish()
                self._was_listed = True
                self._note_lost_for_nothing(self._lost_consents() - lost)

    async def _run(self, process: Process, key: str, roster: Roster) -> Report | None:
        engine, nylas, clock = self.engine, self.nylas, self._clock
        run = await self._task(process, lambda: self._open(key))
        try:
            run = await self._task(process, lambda: self._read(run, roster))
            await self._task(process, lambda: observe(engine, nylas, run, clock=clock))
            planned = await self._task(process, lambda: runs.read_run(engine, run.run_id))
            made = await self._task(process, lambda: self._plan(planned))
        except Failed:
            await self._task(process, lambda: self._close(run))
            return None
        for batch in made.batches:
            process.at = planned, batch
            with suppress(Failed):
                await self._task(process, lambda: self._apply(*process.at))
        process.at = None
        with suppress(Failed):
            await self._task(
                process, lambda: verify(engine, nylas, planned, clock=clock, pause=_at_once)
            )
        return await self._task(process, lambda: self._close(run))

    def _open(self, key: str) -> Run:
        day = self.now.date()
        return open_run(
            self.engine,
            application=APPLICATION,
            key=key,
            kind=RunKind.RECONCILE,
            mode=Mode.APPLY,
            selection=Selection(),
            roster=RosterState(day, day, exact=False, dated=False, newest=None),
            now=self.now,
        )

    def _read(self, run: Run, roster: Roster) -> Run:
        staged = [
            entry(
                tenant_of(email), email, scopes=scopes, provider=str(provider_of(email)),
                credential_id=CREDENTIALS[provider_of(email)],
            )
            for email, scopes in roster.items()
        ]  # fmt: skip
        with writing(self.engine, run, self.now) as write:
            write.connection.execute(entries.delete())
            if staged:
                write.connection.execute(insert(entries), staged)
            runs.note(write, entries=len(staged), rejected=0)
        return runs.read_run(self.engine, run.run_id)

    def _plan(self, run: Run):
        return plan(self.engine, run, batch_size=self._batch_size, now=self.now)

    def _apply(self, run: Run, batch: int):
        return apply_batch(self.engine, self.nylas, run, batch, clock=self._clock)

    def _close(self, run: Run) -> Report:
        return close_run(self.engine, runs.read_run(self.engine, run.run_id), self.now)

    async def _onboard(self, process: Process, key: str) -> None:
        """Ask admins, record their answers, and probe canaries, as onboard_tenants does."""
        names, self._named = self._named, ()
        with suppress(Failed):
            for one in await self._task(process, lambda: self._take_up(key, names)):
                with suppress(Failed, Superseded):
                    await self._task(process, lambda one=one: self._advance(one, key))

    def _take_up(self, key: str, names: tuple[str, ...]) -> list[Onboarding]:
        listed = TENANTS.values()
        return onboarding.take_up(
            self.engine, APPLICATION, key, self.now, listed=listed, names=names
        )

    def _advance(self, taken: Onboarding, key: str) -> None:
        known = onboarding.read_onboarding(self.engine, APPLICATION, taken.tenant)
        if known.awaiting is Awaiting.CONSENT:
            self._ask(known, key)
            known = onboarding.read_onboarding(self.engine, APPLICATION, taken.tenant)
        if known.awaiting is Awaiting.PROPAGATION:
            sender, clock = Blocking(self.nylas), self._clock
            with suppress(NotPropagated, Misconfigured):
                advance(
                    self.engine, sender, known, AT_ONCE, run_key=key, clock=clock, chance=_evenly
                )
        release_hold(self.engine, known.held_by(key))

    def _ask(self, known: Onboarding, key: str) -> None:
        with writing(self.engine, known.held_by(key), self.now) as write:
            consent_id = consents.request_consent(
                write,
                credential_id=OURS_AT_MICROSOFT,
                microsoft_tenant="common",
                redirect_uri="https://airflow.example.com/bulkgrants/consent/callback",
                state_hash=f"{next(self._numbers):064x}",
                expires_at=self.now + 7 * DAY,
            )
        if self.nylas.admins[known.tenant].answers:
            with answering(self.engine) as connection:
                consents.answer_consent(connection, consent_id, ConsentStatus.GIVEN, self.now)
                onboarding.consented(connection, APPLICATION, known.tenant, self.now)

    async def _task(self, process: Process, step):
        """What the step returns in one of its tries. Raises Failed, or Superseded."""
        for left in reversed(range(1 if self._calm else TRIES)):
            if process.second is None:
                self._tick()
            token = running.set(replace(process))
            try:
                made = step()
                return await made if inspect.isawaitable(made) else made
            except Retriable:
                continue
            except Superseded:
                if not left:
                    raise
                continue
            except Died:
                pass
            finally:
                running.reset(token)
            gc.collect()  # its connections end with it, whatever cursors they have
        raise Failed

    def _lost_consents(self) -> Counter[str]:
        """How many consents of each tenant are recorded as lost."""
        lost = (row["tenant"] for row in rows(self.engine, "consents") if row["status"] == "lost")
        return Counter(lost)

    def _note_lost_for_nothing(self, lost: Counter[str]) -> None:
        """Note tenants that lost their consent in a night in which their canary was fine."""
        owned = {row["email"] for row in rows(self.engine, "grants") if is_ours(row)}
        for tenant in lost:
            if CANARIES[tenant] in owned and not self.nylas.is_in_trouble(tenant):
                self.nylas.violations.append(f"{tenant} lost its consent, but its canary is fine")

    def _clock(self) -> datetime:
        return self.now

    def _tick(self) -> None:
        if not self._calm:
            self.now += timedelta(hours=next(self._steps, 0))

    # What goes wrong

    def _before(self, call) -> None:
        process = running.get()
        if process is None:
            return
        process.live_on()
        if process.second is not None:
            process.second.called()
            return
        when, name = (not self._calm and next(self._faults, None)) or ("", "")
        if not when or (name in REFUSALS and (when == "after" or not _may_be_refused(call))):
            return
        if name in ANSWERS and when == "before":
            raise ANSWERS[name]
        if name in ANSWERS:
            self._late = ANSWERS[name]
        elif name == "die" and when == "after":
            self._late = Died()
        else:
            self._mishaps[name](process)

    @property
    def _mishaps(self) -> dict[str, Callable[[Process], None]]:
        return {
            "die": Process.die,
            "freeze": lambda _: self._stand_still(),
            "another run": lambda _: self._meanwhile(self._begin_another_run),
            "lose the batch": self._lose_batch,
            "twin": self._twin,
        }

    def _after(self, call) -> None:
        late, self._late = self._late, None
        if isinstance(late, Died):
            running.get().dead = True
        if late is not None:
            raise late

    def _before_statement(self, connection: Connection, _cursor, statement: str, *_) -> None:
        process = running.get()
        if process is None:
            return
        process.live_on()
        if self._calm or process.second is not None or self._stop is None:
            return
        left, what = self._stop
        self._stop = left - 1, what
        if left > 0 or (what == "freeze" and _would_block_all(connection, statement)):
            return
        self._stop = next(self._stops, None)
        if what == "die":
            process.die()
        if connection.dialect.name == "postgresql":
            connection.connection.driver_connection.execute(SOON_ENDED)
        # the event loop of this process stands still too
        thaw = Event()
        self._loop.call_soon_threadsafe(thaw.wait)
        self._stand_still()
        thaw.set()

    def _stand_still(self) -> None:
        """Let the other run take its turn: the whole next night, or part of it."""
        if self._other is None or self._other.over:
            self._other = Second(self._take_over)
        self._other.take_turn(next(self._turns, None))

    def _take_over(self, second: Second) -> None:
        let_lapse(self.engine)
        asyncio.run(self.night(self._roster, second))

    def _begin_another_run(self, second: Second) -> None:
        asyncio.run(self.night(self._roster, second))

    def _let_other_finish(self) -> None:
        if self._other is not None and not self._other.over:
            self._other.take_turn(None)
        self._other = None

    def _lose_batch(self, process: Process) -> None:
        if process.at is not None:
            run, batch = process.at
            self._meanwhile(lambda _: claim_batch(self.engine, run, batch, self.now))

    def _twin(self, process: Process) -> None:
        """Let another task apply the same batch."""
        if process.at is not None:
            run, batch = process.at
            self._meanwhile(lambda _: asyncio.run(self._apply(run, batch)))

    def _meanwhile(self, life: Callable[[Second], None]) -> None:
        def alone(second: Second) -> None:
            with suppress(Retriable, Superseded):
                life(second)

        Second(alone).take_turn(None)

    def _cut(self, offset: int) -> int | None:
        """Not on the first night: nobody can know a grant that no listing has ever shown."""
        return next(self._cuts, None) if self._was_listed else None


def is_ours(row) -> bool:
    """Whether a row of the ledger is about a grant that we own and that exists."""
    return row["owned"] and row["gone_at"] is None


def _may_be_refused(call) -> bool:
    """Canaries are not refused by chance: what they are answered holds for their tenants."""
    if call.method != "POST":
        return False
    return call.body["settings"]["email_address"] not in CANARIES.values()


def _would_block_all(connection: Connection, statement: str) -> bool:
    """Whether the others could only wait, since there is one writer at a time on SQLite."""
    if connection.dialect.name != "sqlite" or statement.startswith("BEGIN"):
        return False
    return not connection.get_execution_options().get("reads_only", False)


def _evenly() -> float:
    return 0.5


async def _at_once(seconds: float) -> None:
    """For a pause."""
