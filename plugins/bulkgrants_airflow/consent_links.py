"""Consent links on their way to an admin: made, shown in Airflow's UI, sent by a notifier."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pkgutil import resolve_name

from airflow.sdk import BaseNotifier, BaseOperator, BaseOperatorLink, Context
from airflow.sdk.types import TaskInstanceKey

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Onboarding
from bulkgrants.onboarding.links import ask
from bulkgrants.ports import utc_now
from bulkgrants.text import bounded
from bulkgrants_airflow.connections import oauth_app
from bulkgrants_airflow.workspace import Workspace, run_key

_log = logging.getLogger(__name__)


def ask_admin(
    workspace: Workspace, onboarding: Onboarding, context: Context, *, is_reminder: bool
) -> str:
    """A new link. It is logged and sent by the notifier; the caller shows it in the UI."""
    messenger = notifier(workspace.settings.consent_notifier)
    asked = ask(
        workspace.ledger,
        workspace.asker(),
        replace(onboarding, microsoft_tenant=_microsoft_tenant(onboarding)),
        workspace.settings.consent.link,
        run_key=run_key(context),
        now=utc_now(),
    )
    _log.info(
        "Send this link to a Microsoft admin of %s. It is valid until %s: %s",
        onboarding.tenant,
        f"{asked.expires_at:%Y-%m-%d %H:%M} UTC",
        asked.link,
    )
    news = News(asked.link, onboarding.tenant, asked.expires_at, is_reminder)
    if messenger is not None and notify(messenger, context, news):
        _log.info("%s has sent the link", type(messenger).__name__)
    return asked.link


def _microsoft_tenant(onboarding: Onboarding) -> str:
    """The tenant of the credential: the tenants table leaves it to the connection if it is empty.

    The same rule as `bulkgrants.credentials.secrets.admin_consent_data`.
    """
    if onboarding.microsoft_tenant or not onboarding.secret_conn_id:
        return onboarding.microsoft_tenant
    return (oauth_app(onboarding.secret_conn_id).tenant or "").lower()


class ConsentLink(BaseOperatorLink):
    """The button that opens the link in the task's attribute `link`, also while it is deferred.

    Airflow asks for it in the worker each time a run of the task ends, and keeps it as an XCom.
    """

    @property
    def name(self) -> str:
        """The words on the button."""
        return "Consent link for the admin"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's interface
        """The link; empty if the task does not need one."""
        link = getattr(operator, "link", None)
        return link if isinstance(link, str) else ""


@dataclass(frozen=True, slots=True)
class News:
    """The variables of a notifier's templates, each under the name `consent_…`."""

    link: str
    tenant: str
    expires_at: datetime
    is_reminder: bool


def notifier(setting: Mapping[str, object]) -> BaseNotifier | None:
    """The notifier that `[bulkgrants] consent_notifier` names, if any. Raises Misconfigured."""
    if not setting:
        return None
    path, kwargs = setting.get("class"), setting.get("kwargs", {})
    try:
        found = resolve_name(path) if isinstance(path, str) else None
    except (ImportError, AttributeError, ValueError):
        found = None
    if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
        raise _wrong(f"{bounded(repr(path), 120)} is not the class of an Airflow notifier")
    if not isinstance(kwargs, dict):
        raise _wrong("its `kwargs` must be a JSON object")
    try:
        return found(**kwargs)
    except Exception as error:  # noqa: BLE001 - it may check its arguments in any way
        raise _wrong(f"{path} does not take its `kwargs` ({type(error).__name__})") from None


def notify(messenger: BaseNotifier, context: Context, news: News) -> bool:
    """Send the news, and return whether that worked.

    A failure does not fail the task, as the log and the UI show the link as well.
    """
    variables = {f"consent_{name}": value for name, value in asdict(news).items()}
    try:
        messenger({**context, **variables})
    except Exception as error:  # noqa: BLE001 - it may fail in any way, and may quote the link
        _log.error("The notifier failed (%s); send the link yourself", type(error).__name__)
        return False
    return True


def _wrong(what: str) -> Misconfigured:
    return Misconfigured(
        f"[bulkgrants] consent_notifier: {what}; write a JSON object such as "
        '{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "kwargs": {…}}.'
    )
