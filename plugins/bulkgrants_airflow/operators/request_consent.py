"""Asks the admin of a Microsoft tenant for consent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.consent.asking import step_of
from bulkgrants.consent.waiting import Ask, Wait
from bulkgrants.ledger.onboarding import begin_anew, read_onboarding
from bulkgrants.model import Awaiting
from bulkgrants.ports import utc_now
from bulkgrants_airflow.asking import ask_admin
from bulkgrants_airflow.links import ConsentLink
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class RequestConsentOperator(BaseOperator):
    """Makes the consent link of the tenant, records the consent as pending, and shows the link.

    It is shown in the log, as a button of the task, and by the notifier of the settings. Links that
    were made before are kept nowhere, so each run of this task makes one of its own; the older ones
    stay good. Skips a tenant that does not await consent. The tenant's credential has to be
    registered by then, as `RegisterCredentialOperator` does.
    """

    template_fields: Sequence[str] = ("tenant",)
    operator_extra_links: Sequence[BaseOperatorLink] = (ConsentLink(),)

    def __init__(self, *, tenant: str, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.tenant = tenant
        self.link: str | None = None

    def execute(self, context: Context) -> str | None:
        """The link; None where an earlier answer is there already, for the sensor to tell."""
        with saying_clearly():
            bench = Workbench.open()
            application = bench.asker().application
            onboarding = read_onboarding(bench.ledger, application, self.tenant)
            if onboarding.awaiting is not Awaiting.CONSENT:
                raise AirflowSkipException(f"The tenant {self.tenant} does not await consent.")
            if onboarding.stop is not None:  # only a person who cleared this task leads here
                with bench.ledger.begin() as connection:
                    begin_anew(connection, application, self.tenant, utc_now())
                onboarding = read_onboarding(bench.ledger, application, self.tenant)
            match step_of(bench.ledger, onboarding, bench.settings.consent, utc_now()):
                case Ask(reminder=again):
                    self.link = ask_admin(bench, onboarding, context, is_reminder=again)
                case Wait():
                    self.link = ask_admin(bench, onboarding, context, is_reminder=True)
                case _:
                    self.log.info("There is an answer already")
        return self.link
