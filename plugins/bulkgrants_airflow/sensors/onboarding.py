"""Waits for a tenant: first for its admin's consent, then until the provider honours it.

Both waits may take days, so they are spent deferred, without a worker.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NoReturn, assert_never

from airflow.sdk import BaseOperatorLink, BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException
from airflow.triggers.base import BaseTrigger

from bulkgrants.errors import ConsentExpired, ConsentRefused, Misconfigured, Superseded
from bulkgrants.ledger.onboarding import stop
from bulkgrants.ledger.rights import keep_hold, release_hold, writing
from bulkgrants.model import Awaiting, OAuthError, Onboarding, Stop
from bulkgrants.onboarding.propagation import ProbeAgain, Ready, advance, why_it_waits
from bulkgrants.onboarding.waiting import (
    AwaitAnswer,
    Declined,
    Expired,
    Given,
    MakeLink,
    not_taken_up,
    step_of,
)
from bulkgrants.ports import utc_now
from bulkgrants.text import bounded
from bulkgrants_airflow.consent_links import ConsentLink, ask_admin
from bulkgrants_airflow.operators.base import saying_clearly
from bulkgrants_airflow.triggers.consent import ConsentTrigger
from bulkgrants_airflow.triggers.events import woken
from bulkgrants_airflow.triggers.moment import MomentTrigger
from bulkgrants_airflow.workspace import Workspace, run_key

_FOR_EVER = timedelta(days=3650)


class TenantSensor(BaseSensorOperator):
    """Waits for `tenant`: checks the ledger, does what is due, defers until there is more to do.

    Everything that a wait depends on is in the ledger. So nothing is lost when a task is killed, a
    triggerer restarts, or an event comes twice: the task that wakes checks again. The time that
    `timeout` and `execution_timeout` allow counts from the task's first check, and includes the
    waiting; Airflow on its own would apply `execution_timeout` only to the moments between waits.
    """

    template_fields: Sequence[str] = ("tenant",)

    def __init__(
        self,
        *,
        tenant: str,
        timeout: timedelta = _FOR_EVER,
        poke_interval: timedelta = timedelta(seconds=15),
        **kwargs: Any,  # noqa: ANN401 - handed on
    ) -> None:
        super().__init__(timeout=timeout, poke_interval=poke_interval, **kwargs)
        self.tenant = tenant
        self._ends_at: datetime | None = None

    def execute(self, context: Context) -> None:
        """Return once there is nothing left to wait for."""
        if self._ends_at is None:
            allowed = self.execution_timeout or _FOR_EVER
            self._ends_at = utc_now() + min(timedelta(seconds=self.timeout), allowed)
        with saying_clearly():
            workspace = Workspace.open()
            onboarding = workspace.onboarding(self.tenant)
            if onboarding.awaiting is None:
                self.log.info("Tenant %s is ready", self.tenant)
                return
            if not onboarding.wanted:
                raise AirflowSkipException(f"The tenant {self.tenant} is no longer enabled.")
            try:
                if onboarding.since is None:
                    release_hold(workspace.ledger, onboarding.held_by(run_key(context)))
                    raise not_taken_up(onboarding)
                keep_hold(workspace.ledger, onboarding.held_by(run_key(context)), utc_now())
                self.work(workspace, onboarding, context)
            except Superseded as error:
                raise AirflowSkipException(str(error)) from None

    @abstractmethod
    def work(self, workspace: Workspace, onboarding: Onboarding, context: Context) -> None:
        """Do what is due. Return if all is done, raise if it has failed, else call `wait`."""

    def wait(self, trigger: BaseTrigger, **kept: str | None) -> NoReturn:
        """Defer the task until the trigger fires; `kept` are attributes that it has again then."""
        ends_at = self._ends_at or utc_now() + _FOR_EVER
        left = ends_at - utc_now()
        if left <= timedelta():
            raise AirflowSensorTimeout(f"The time allowed for this task ended at {ends_at}.")
        self.defer(
            trigger=trigger,
            method_name="resume",
            kwargs={"ends_at": ends_at.isoformat(), **kept},
            timeout=left,
        )

    def resume(
        self,
        context: Context,
        event: object = None,
        ends_at: str | None = None,
        **kept: str | None,
    ) -> None:
        """Check again. The event is only the signal to do so; an unknown event is an error."""
        woken(event)
        self._ends_at = datetime.fromisoformat(ends_at) if ends_at else None
        for name, value in kept.items():
            setattr(self, name, value)
        self.execute(context)


class ConsentSensor(TenantSensor):
    """Waits until the admin of a Microsoft tenant has answered, for as long as the settings say.

    `link` is the consent link to show meanwhile. The sensor itself makes and sends reminders, and
    new links when the old ones expire. It checks for the answer every `poke_interval`. It skips a
    tenant that is no longer enabled. It raises ConsentRefused or ConsentExpired; after that, the
    tenant rests until a person asks for it by name.
    """

    template_fields: Sequence[str] = ("tenant", "link")
    operator_extra_links: Sequence[BaseOperatorLink] = (ConsentLink(),)

    def __init__(self, *, link: str | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.link = link

    def work(self, workspace: Workspace, onboarding: Onboarding, context: Context) -> None:
        """Ask again, wait, or end the wait with the admin's answer."""
        if onboarding.awaiting is Awaiting.PROPAGATION:
            self.log.info("Tenant %s has consented, or does not need to", self.tenant)
            return
        terms, key_id = workspace.settings.consent, workspace.key_id
        step = step_of(workspace.ledger, onboarding, terms, utc_now(), key_id)
        if isinstance(step, MakeLink):
            self.link = ask_admin(workspace, onboarding, context, is_reminder=step.is_reminder)
            step = step_of(workspace.ledger, onboarding, terms, utc_now(), key_id)
        match step:
            case AwaitAnswer(until):
                trigger = ConsentTrigger(
                    application=onboarding.application,
                    tenant=self.tenant,
                    run_key=run_key(context),
                    until=until.isoformat(),
                    interval=self.poke_interval,
                    key_id=key_id,
                )
                self.wait(trigger, link=self.link)
            case MakeLink():
                raise Misconfigured(
                    f"The link for the tenant {self.tenant} was over as soon as it was made; allow "
                    "more time in [bulkgrants] consent_link_days, and check this worker's clock."
                )
            case Given() | Declined() | Expired():
                self._end(workspace, onboarding, context, step)
            case _:
                assert_never(step)

    def _end(
        self,
        workspace: Workspace,
        onboarding: Onboarding,
        context: Context,
        step: Given | Declined | Expired,
    ) -> None:
        """End the wait; a yes counts even if it comes at this moment."""
        if isinstance(step, Declined | Expired):
            why = Stop.REFUSED if isinstance(step, Declined) else Stop.EXPIRED
            hold = onboarding.held_by(run_key(context))
            with writing(workspace.ledger, hold, utc_now()) as write:
                stopped = stop(write, why)
            if stopped and isinstance(step, Declined):
                raise ConsentRefused(_refusal(self.tenant, step.error))
            if stopped and isinstance(step, Expired):
                raise ConsentExpired(
                    f"The consent links of the tenant {self.tenant} were not answered in "
                    f"{step.after.total_seconds() / 86400:g} days. Talk to its admin, then trigger "
                    f"onboard_tenants with `tenants` set to {self.tenant}."
                )
        if workspace.onboarding(self.tenant).awaiting is Awaiting.CONSENT:
            raise not_taken_up(onboarding)


def _refusal(tenant: str, error: OAuthError) -> str:
    """What Microsoft said, what it means, and how to go on."""
    known = error.known
    said = "; ".join(
        f"{name} {bounded(value, 300)!r}" for name, value in asdict(error).items() if value
    )
    return (
        f"The consent of the tenant {tenant} was refused. {known.meaning} "
        f"{known.remedy} A new link is made if you trigger onboard_tenants with `tenants` set to "
        f"{tenant}, or clear this run's request_consent. ({said})"
    )


class PropagationSensor(TenantSensor):
    """Probes the tenant with its canary, at growing intervals, until its grant has all it needs.

    Between two probes it is deferred. It raises NotPropagated at the provider's deadline, with the
    names of the missing scopes, and Misconfigured if waiting does not help.
    """

    def work(self, workspace: Workspace, onboarding: Onboarding, context: Context) -> None:
        """Make one probe, if it is due."""
        pace = workspace.settings.propagation[onboarding.provider]
        step = advance(
            workspace.ledger,
            workspace.single_sender(),
            onboarding,
            pace,
            run_key=run_key(context),
            clock=utc_now,
            chance=random.random,
        )
        match step:
            case Ready():
                self.log.info("Tenant %s is ready", self.tenant)
            case ProbeAgain(until) as again:
                self.log.info("%s", why_it_waits(onboarding, again, pace))
                self.wait(MomentTrigger(until.isoformat()))
