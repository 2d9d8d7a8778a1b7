"""Reads Airflow connections; no other module does.

If a part is missing or wrong, the error is Misconfigured; its message names the connection and
never shows a secret. Heavy modules are imported where they are used: DAG files are parsed every
thirty seconds, and only tasks open databases.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, urlsplit

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from airflow.sdk.log import mask_secret

from bulkgrants.credentials.secrets import OAuthApp, ServiceAccountKey, service_account_key
from bulkgrants.errors import Misconfigured
from bulkgrants.nylas.calls import Json
from bulkgrants.text import is_loopback
from bulkgrants_airflow.provider import OPTIONS, RATE_PER_SECOND, TIMEOUT, Limits
from bulkgrants_airflow.settings import airflow_home

if TYPE_CHECKING:
    from bulkgrants.rosters.warehouse import Warehouse

REGIONS = {"us": "https://api.us.nylas.com", "eu": "https://api.eu.nylas.com"}

_KEYFILE = ("keyfile_dict", "extra__google_cloud_platform__keyfile_dict")
_API_KEY = re.compile(r"[!-~]+")  # what an HTTP header can carry
_CLIENT_ID = re.compile(r"[!-_a-~]{1,200}")  # a report shows it between backticks


@dataclass(frozen=True, slots=True)
class NylasConnection:
    """How to reach a Nylas application."""

    name: str
    """How a sentence names it, such as `Airflow connection 'nylas_default'`."""
    base_url: str
    """Without a slash at the end."""
    api_key: str = field(repr=False)
    client_id: str
    """The application's id, under which the ledger keeps its records."""
    rate_per_second: float
    timeout: float
    """Seconds for one whole call."""

    @property
    def host(self) -> str:
        """The host as messages name it."""
        return urlsplit(self.base_url).netloc


def nylas_connection(conn_id: str, name: str = "") -> NylasConnection:
    """The Nylas application behind a connection; sentences call it `name`, else by its id."""
    connection = _connection(conn_id, "nylas")
    return _nylas(connection, connection.extra_dejson, name or _named(conn_id))


async def nylas_connection_async(conn_id: str) -> NylasConnection:
    """`nylas_connection` for an event loop, on which the blocking form could wait forever."""
    try:
        connection = await BaseHook.aget_connection(conn_id)
    except AirflowNotFoundException:
        raise _missing(conn_id, "nylas") from None
    return _nylas(connection, await connection.aextra_dejson(), _named(conn_id))


def ledger_url(conn_id: str) -> str:
    """The ledger's SQLAlchemy URL, password included.

    While the default connection does not exist, the ledger is a SQLite file in Airflow's home. Any
    other name that does not exist is a mistake: an empty ledger would not know what is owned.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        if conn_id != OPTIONS["ledger_conn_id"]["default"]:
            raise _missing(conn_id, "postgres or sqlite") from None
        return f"sqlite:///{airflow_home() / 'bulkgrants' / 'ledger.db'}"
    _mask_in_urls(connection.password)
    match connection.conn_type:
        case "sqlite":
            if not connection.host:
                raise Misconfigured(
                    f"The Airflow connection '{conn_id}' does not name a file; put the path of the "
                    "ledger's SQLite file into its host."
                )
            return f"sqlite:///{connection.host}"
        case "postgres":
            from airflow.providers.postgres.hooks.postgres import PostgresHook  # noqa: PLC0415 - heavy

            url = PostgresHook(postgres_conn_id=conn_id, connection=connection).sqlalchemy_url
            return url.render_as_string(hide_password=False)
        case other:
            raise Misconfigured(
                f"The Airflow connection '{conn_id}' is of type '{other}'; "
                "the ledger needs postgres or sqlite."
            )


def warehouse_engine(conn_id: str) -> Warehouse:
    """The warehouse's engine, made by the connection's own SQL hook."""
    from airflow.providers.common.sql.hooks.sql import DbApiHook  # noqa: PLC0415 - heavy

    _mask_in_urls(_connection(conn_id, "a database").password)
    try:
        hook = BaseHook.get_hook(conn_id)
    except AirflowException:
        hook = None
    if not isinstance(hook, DbApiHook):
        raise Misconfigured(
            f"The Airflow connection '{conn_id}' is not of a SQL type that is installed here; set "
            "[bulkgrants] warehouse_conn_id to the connection of the warehouse."
        )
    return hook.get_sqlalchemy_engine({"hide_parameters": True})


def google_key(conn_id: str) -> ServiceAccountKey:
    """The service account key of a connection, stored as in Airflow's own Google connections."""
    extra = _connection(conn_id, "google_cloud_platform").extra_dejson
    value: Json = next((extra[name] for name in _KEYFILE if extra.get(name)), None)
    key = service_account_key(value, connection=conn_id)
    mask_secret(key.credential_data["private_key"])
    return key


def oauth_app(conn_id: str) -> OAuthApp:
    """The OAuth app in a connection: login, password and, for Azure, `extra.tenantId`."""
    connection = _connection(conn_id, "azure for Microsoft, generic for Google")
    login, password = ((text or "").strip() for text in (connection.login, connection.password))
    if not login or not password:
        raise Misconfigured(
            f"The Airflow connection '{conn_id}' needs the OAuth app's client id as login and its "
            "client secret as password."
        )
    mask_secret(password)
    tenant = connection.extra_dejson.get("tenantId") or ""
    if not isinstance(tenant, str):
        raise _wrong(
            _named(conn_id), "needs the Microsoft tenant's id as text in its field `tenantId`"
        )
    return OAuthApp(client_id=login, client_secret=password, tenant=tenant.strip() or None)


def _connection(conn_id: str, kind: str) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise _missing(conn_id, kind) from None


def _mask_in_urls(password: str | None) -> None:
    """Mask a password in logs as a URL spells it; Airflow masks it only as it is.

    At DEBUG its SQL hooks log the URL of the database.
    """
    for spelling in {quote(password, safe=""), quote_plus(password)} if password else ():
        mask_secret(spelling)


def _missing(conn_id: str, kind: str) -> Misconfigured:
    return Misconfigured(
        f"Airflow has no connection '{conn_id}': create it (type {kind}) under Admin, Connections, "
        f"or set AIRFLOW_CONN_{conn_id.upper()}."
    )


def _nylas(connection: Connection, extra: Mapping[str, Json], name: str) -> NylasConnection:
    return NylasConnection(
        name=name,
        base_url=_base_url(name, (connection.host or "").strip()),
        api_key=_api_key(name, (connection.password or "").strip()),
        client_id=_client_id(name, extra.get("client_id")),
        rate_per_second=_number(name, extra, RATE_PER_SECOND),
        timeout=_number(name, extra, TIMEOUT),
    )


def _base_url(name: str, host: str) -> str:
    if host.lower() in REGIONS:
        return REGIONS[host.lower()]
    try:
        parts = urlsplit(host)
        plain = parts.scheme == "https" or (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        )
        sound = bool(parts.hostname) and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:
        plain = sound = False
    if not (plain and sound) or "@" in host:
        raise _wrong(
            name,
            "needs `us`, `eu` or a base URL (https://…; http:// for this machine only) as its host",
        )
    return host.rstrip("/")


def _api_key(name: str, key: str) -> str:
    if not key:
        raise _wrong(name, "needs the Nylas API key as its password")
    if not _API_KEY.fullmatch(key):
        raise _wrong(
            name,
            "has a password that is not an API key: it has blanks or odd characters in it",
        )
    return key


def _client_id(name: str, value: Json) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, "needs the Nylas application's id in its field `client_id`")
    if not _CLIENT_ID.fullmatch(value.strip()):
        raise _wrong(
            name,
            "has a `client_id` that is not an application's id: it has blanks or odd characters "
            "in it, or more than 200",
        )
    return value.strip()


def _number(name: str, extra: Mapping[str, Json], limits: Limits) -> float:
    value = extra.get(limits.name)
    if value is None or value == "":
        return limits.default
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not limits.low <= number <= limits.high:
        raise _wrong(
            name,
            f"needs a number from {limits.low:g} to {limits.high:g} in its field `{limits.name}`",
        )
    return number


def _named(conn_id: str) -> str:
    return f"Airflow connection '{conn_id}'"


def _wrong(name: str, what: str) -> Misconfigured:
    return Misconfigured(f"The {name} {what}.")
