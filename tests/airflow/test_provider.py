"""The provider entry point in Airflow: discovery, the connection form, and the Test button."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import entry_points
from importlib.resources import files
from typing import ClassVar

import httpx
import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from bulkgrants_airflow.provider import get_provider_info


def schema(name):
    return json.loads((files("airflow") / name).read_text())


def test_the_entry_point_leads_here():
    found = entry_points(group="apache_airflow_provider", name="provider_info")
    ours = [one for one in found if one.dist is not None and one.dist.name == "bulkgrants"]
    assert [one.load()() for one in ours] == [get_provider_info()]


def test_the_provider_info_fits_airflows_schemas():
    info = get_provider_info()
    jsonschema.validate(info, schema("provider_info.schema.json"))
    form = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(info["connection-types"], form)


def listed():
    return ProvidersManager().iter_connection_type_hook_ui_metadata()


def test_airflow_lists_the_connection_type_with_its_fields():
    hook = ProvidersManagerTaskRuntime().hooks["nylas"]
    assert hook.hook_class_name == "bulkgrants_airflow.hooks.nylas.NylasHook"
    assert (hook.connection_id_attribute_name, hook.package_name) == ("nylas_conn_id", "bulkgrants")
    names = {one.connection_type: one.hook_name for one in listed()}
    assert names["nylas"] == "Nylas"


class ApiServer:
    """Airflow's API server in this process, used as an administrator."""

    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, app):
        self.app = app
        token = self.ask("GET", "/auth/token").json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def ask(self, method, path, **kwargs):
        async def run():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
                return await client.request(method, path, headers=self.headers, **kwargs)

        return asyncio.run(run())


@pytest.fixture(scope="module")
def client():
    from airflow.api_fastapi.app import create_app

    return ApiServer(create_app())


def test_the_form_hides_what_is_not_used_and_names_what_is(client):
    types = client.ask("GET", "/ui/connections/hook_meta").json()
    nylas = next(one for one in types if one["connection_type"] == "nylas")
    assert nylas["hook_name"] == "Nylas"
    fields = nylas["standard_fields"]
    assert fields["host"]["title"] == "Region or base URL"
    assert fields["password"]["title"] == "API key"
    for hidden in ("login", "port", "url_schema"):
        assert fields[hidden]["hidden"] is True
    extra = nylas["extra_fields"]
    assert set(extra) == {"client_id", "rate_per_second", "timeout"}
    assert extra["rate_per_second"]["value"] == 40
    assert extra["rate_per_second"]["schema"]["maximum"] == 50
    assert extra["client_id"]["schema"]["title"] == "Application id"


def press_test(client, **fields):
    body = {"connection_id": "being_edited", "conn_type": "nylas", **fields}
    answer = client.ask("POST", "/api/v2/connections/test", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_test_button_works_through_the_api_server(client, standin):
    answer = press_test(
        client,
        host=standin.base_url,
        password=standin.api_key,
        extra=json.dumps({"client_id": standin.client_id}),
    )
    host = standin.base_url.removeprefix("http://")
    assert answer == {"status": True, "message": f"{host} accepts the API key."}
    assert standin.control.requests_by_route()["GET /v3/connectors"] == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"password": "wrong-key"}, "Nylas does not accept the API key"),
        ({"password": ""}, "needs the Nylas API key as its password"),
        ({"host": "asia"}, "needs `us`, `eu` or a base URL"),
        ({"host": "http://127.0.0.1:9"}, "it does not accept connections"),
        ({"extra": "{}"}, "`client_id`"),
    ],
)
def test_the_test_button_says_what_is_wrong(client, standin, fields, sentence):
    good = {
        "host": standin.base_url,
        "password": standin.api_key,
        "extra": json.dumps({"client_id": standin.client_id}),
    }
    answer = press_test(client, **{**good, **fields})
    assert answer["status"] is False
    assert sentence in answer["message"]
    assert "Airflow connection" not in answer["message"]
