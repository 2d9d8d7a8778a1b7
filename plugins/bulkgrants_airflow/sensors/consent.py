"""Waits for the admin of a Microsoft tenant to consent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow.sdk import BaseOperatorLink, Context

from bulkgrants.consent.asking import step_of
from bulkgrants.consent.explanations import explain
from bulkgrants.consent.waiting import Ask, Expired, Given, Refused, Wait
from bulkgrants.errors import ConsentExpired, ConsentRefused
from bulkgrants.ledger.consents import OAuthError
from bulkgrants.ledger.onboarding import Onboarding, Stop, stop
from bulkgrants.model import Awaiting
from bulkgrants.ports import utc_now
from bulkgrants.text import bounded
from bulkgrants_airflow.asking import ask_admin
from bulkgrants_airflow.links import ConsentLink
from bulkgrants_airflow.sensors.deferring import DeferringSensor
from bulkgrants_airflow.triggers.consent import ConsentTrigger
from bulkgrants_airflow.workbench import Workbench, run_key


class ConsentSensor(DeferringSensor):
    """Waits until the admin has answered, for as long as the settings say.

    `link` is the consent link to show while it waits. Reminders, and links in the place of expired
    ones, are made and sent by the sensor itself. Looks for the answer every `poke_interval`. Skips
    a tenant that is no longer enabled. Raises ConsentRefused or ConsentExpired, after which the
    tenant rests until a person asks for it by name.
    """

    template_fields: Sequence[str] = ("tenant", "link")
    operator_extra_links: Sequence[BaseOperatorLink] = (ConsentLink(),)

    def __init__(self, *, link: str | None = None, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.link = link

    def look(self, bench: Workbench, onboarding: Onboarding, context: Context) -> None:
        """One look at what has come of the consent."""
        if onboarding.awaiting is Awaiting.PROPAGATION:
            self.log.info("Tenant %s has consented, or needs no consent", self.tenant)
            return
        terms = bench.settings.consent
        step = step_of(bench.ledger, onboarding, terms, utc_now())
        if isinstance(step, Ask):
            self.link = ask_admin(bench, onboarding, context, is_reminder=step.reminder)
            step = step_of(bench.ledger, onboarding, terms, utc_now())
        match step:
            case Given():
                return
            case Refused(error):
                self._stop(bench, onboarding, Stop.REFUSED)
                raise ConsentRefused(_refusal(self.tenant, error))
            case Expired(after):
                self._stop(bench, onboarding, Stop.EXPIRED)
                raise ConsentExpired(
                    f"Nobody answered the consent links of the tenant {self.tenant} in "
                    f"{after.total_seconds() / 86400:g} days. Talk to its admin, then trigger "
                    f"onboard_tenants with `tenants` set to {self.tenant}."
                )
            case Wait(until):
                self._defer_until(until, onboarding, context)

    def _defer_until(self, until: datetime, onboarding: Onboarding, context: Context) -> None:
        trigger = ConsentTrigger(
            application=onboarding.application,
            tenant=self.tenant,
            run_key=run_key(context),
            until=until.isoformat(),
            interval=self.poke_interval,
        )
        self.wait(trigger, link=self.link)

    def _stop(self, bench: Workbench, onboarding: Onboarding, why: Stop) -> None:
        with bench.ledger.begin() as connection:
            stop(connection, onboarding.application, onboarding.tenant, why)


def _refusal(tenant: str, error: OAuthError) -> str:
    """What Microsoft said, what it means, and how to go on."""
    explanation = explain(
        error=error.error, description=error.error_description, code=error.error_code
    )
    said = "; ".join(
        f"{name} {bounded(value, 300)!r}"
        for name, value in (
            ("error", error.error),
            ("error_code", error.error_code),
            ("error_description", error.error_description),
            ("error_uri", error.error_uri),
        )
        if value
    )
    return (
        f"The consent of the tenant {tenant} was refused. {explanation.meaning} "
        f"{explanation.remedy} Then trigger onboard_tenants with `tenants` set to {tenant}, "
        f"or clear this run's request_consent. ({said})"
    )
