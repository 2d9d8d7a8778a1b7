"""What the sensors have in common that wait for days: they only ever wait by deferring."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException
from airflow.triggers.base import BaseTrigger

from bulkgrants.errors import Superseded
from bulkgrants.ledger.onboarding import Onboarding, keep_claim, read_onboarding
from bulkgrants.ports import utc_now
from bulkgrants_airflow.events import woken
from bulkgrants_airflow.hooks.nylas import NylasHook
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench, run_key

_FOR_EVER = timedelta(days=3650)


class DeferringSensor(BaseSensorOperator):
    """Waits for a tenant: looks what there is, does what is due, and defers until there is more.

    Everything that a wait depends on is in the ledger. So a task that is killed, a triggerer that
    is restarted and an event that comes twice change nothing: whoever wakes looks again. The time
    that `timeout` and `execution_timeout` allow counts from the task's first look, waiting
    included; Airflow by itself would apply the latter to the moments between two waits alone.
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
        """Return once there is nothing more to wait for."""
        if self._ends_at is None:
            allowed = self.execution_timeout or _FOR_EVER
            self._ends_at = utc_now() + min(timedelta(seconds=self.timeout), allowed)
        with saying_clearly():
            bench = Workbench.open()
            application = NylasHook(bench.settings.nylas_conn_id).nylas.client_id
            onboarding = read_onboarding(bench.ledger, application, self.tenant)
            if onboarding.awaiting is None:
                self.log.info("Tenant %s is ready", self.tenant)
                return
            if not onboarding.wanted:
                raise AirflowSkipException(f"The tenant {self.tenant} is no longer enabled.")
            try:
                with bench.ledger.begin() as connection:
                    keep_claim(connection, application, self.tenant, run_key(context), utc_now())
                self.look(bench, onboarding, context)
            except Superseded as error:
                raise AirflowSkipException(str(error)) from None

    @abstractmethod
    def look(self, bench: Workbench, onboarding: Onboarding, context: Context) -> None:
        """Do what is due; return when all is done, raise when it has failed, else `wait`."""

    def wait(self, trigger: BaseTrigger, **kept: str | None) -> NoReturn:
        """Put the task aside until the trigger fires; `kept` are attributes to have then."""
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
        """Woken: look again. Raises AirflowFailException for an event that is none of ours."""
        woken(event)
        self._ends_at = datetime.fromisoformat(ends_at) if ends_at else None
        for name, value in kept.items():
            setattr(self, name, value)
        self.execute(context)
