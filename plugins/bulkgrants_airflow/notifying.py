"""Brings a consent link to people, by whatever Airflow notifier the settings name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pkgutil import resolve_name

from airflow.sdk import BaseNotifier, Context

from bulkgrants.errors import Misconfigured
from bulkgrants.text import bounded

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class News:
    """What a notifier's templates may speak of, each under the name `consent_…`."""

    link: str
    tenant: str
    expires_at: datetime
    is_reminder: bool


def notifier(setting: Mapping[str, object]) -> BaseNotifier | None:
    """The one that `[bulkgrants] consent_notifier` names, if any. Raises Misconfigured."""
    if not setting:
        return None
    path, kwargs = setting.get("class"), setting.get("kwargs", {})
    try:
        found = resolve_name(path) if isinstance(path, str) else None
    except (ImportError, AttributeError, ValueError):
        found = None
    if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
        raise _wrong(f"{bounded(repr(path), 120)} is no class of an Airflow notifier")
    if not isinstance(kwargs, dict):
        raise _wrong("its `kwargs` are no JSON object")
    try:
        return found(**kwargs)
    except Exception as error:  # noqa: BLE001 - it may check its arguments in any way
        raise _wrong(f"{path} does not take its `kwargs` ({type(error).__name__})") from None


def notify(one: BaseNotifier | None, context: Context, news: News) -> bool:
    """Tell people; gives whether anybody was told.

    A notifier that fails is no reason to lose a link that the log and the UI show as well.
    """
    if one is None:
        return False
    known = {f"consent_{name}": value for name, value in asdict(news).items()}
    try:
        one({**context, **known})
    except Exception as error:  # noqa: BLE001 - it may fail in any way, and may quote the link
        _log.error("The notifier failed (%s); send the link yourself", type(error).__name__)
        return False
    return True


def _wrong(what: str) -> Misconfigured:
    return Misconfigured(
        f"[bulkgrants] consent_notifier: {what}; write a JSON object such as "
        '{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "kwargs": {…}}.'
    )
