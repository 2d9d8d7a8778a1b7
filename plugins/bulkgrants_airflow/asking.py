"""Asks a tenant's admin for consent, and shows the link where people look."""

from __future__ import annotations

import logging

from airflow.sdk import Context

from bulkgrants.consent.asking import ask
from bulkgrants.ledger.onboarding import Onboarding
from bulkgrants.ports import utc_now
from bulkgrants_airflow.notifying import News, notifier, notify
from bulkgrants_airflow.workbench import Workbench, run_key

_log = logging.getLogger(__name__)


def ask_admin(
    bench: Workbench, onboarding: Onboarding, context: Context, *, is_reminder: bool
) -> str:
    """A fresh link, in the log and with the notifier; the caller shows it in the UI."""
    messenger = notifier(bench.settings.consent_notifier)
    asked = ask(
        bench.ledger,
        bench.asker(),
        onboarding,
        bench.settings.consent,
        run_key=run_key(context),
        now=utc_now(),
    )
    _log.info(
        "Send this link to a Microsoft admin of %s; it is good until %s: %s",
        onboarding.tenant,
        f"{asked.expires_at:%Y-%m-%d %H:%M} UTC",
        asked.link,
    )
    news = News(asked.link, onboarding.tenant, asked.expires_at, is_reminder)
    if notify(messenger, context, news):
        _log.info("%s was told", type(messenger).__name__)
    return asked.link
