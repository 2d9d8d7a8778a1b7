"""Waits until the provider honours what a tenant's admin has given."""

from __future__ import annotations

import random

from airflow.sdk import Context

from bulkgrants.ledger.onboarding import Onboarding
from bulkgrants.ports import utc_now
from bulkgrants.propagation.advance import Ready, Wait, advance
from bulkgrants_airflow.sensors.deferring import DeferringSensor
from bulkgrants_airflow.triggers.moment import MomentTrigger
from bulkgrants_airflow.workbench import Workbench, run_key


class PropagationSensor(DeferringSensor):
    """Probes the tenant with its canary, at growing intervals, until its grant carries all it must.

    Between two probes it is deferred. Raises NotPropagated at the deadline of the provider, which
    names the missing scopes, and Misconfigured for what no waiting mends.
    """

    def look(self, bench: Workbench, onboarding: Onboarding, context: Context) -> None:
        """One probe, if it is due."""
        step = advance(
            bench.ledger,
            bench.patient_sender(),
            onboarding,
            bench.settings.propagation[onboarding.provider],
            run_key=run_key(context),
            clock=utc_now,
            chance=random.random,
        )
        match step:
            case Ready():
                self.log.info("Tenant %s is ready", self.tenant)
            case Wait(until, probed):
                if probed is not None:
                    lacks = ", ".join(probed.missing)
                    self.log.info(
                        "Probe: %s. Missing: %s. %s", probed.outcome, lacks, probed.message
                    )
                self.log.info("The next probe is due at %s UTC", f"{until:%Y-%m-%d %H:%M:%S}")
                self.wait(MomentTrigger(until.isoformat()))
