"""Single tasks of an onboarding run: what they send, what they wait for, and how they end."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from sqlalchemy import select, update

from bulkgrants.errors import Misconfigured
from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.onboarding import take_up
from bulkgrants.ledger.rights import HOLD_TERM
from bulkgrants.ledger.tables import consents, tenants
from bulkgrants.ledger.tenants import record_credential
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.model import CredentialType, Provider, RegisteredCredential, Tenant
from bulkgrants.nylas.calls import create_connector, create_credential
from bulkgrants.onboarding.callback import receive
from bulkgrants.onboarding.links import state_key
from bulkgrants_airflow.operators.onboarding import RequestConsentOperator
from bulkgrants_airflow.sensors.onboarding import ConsentSensor, PropagationSensor
from bulkgrants_airflow.triggers import consent as consent_trigger
from bulkgrants_airflow.triggers.moment import MomentTrigger
from support.senders import HttpxSender

RUN = "onboard_tenants/run-1"
HERE = "http://localhost:8080/bulkgrants/consent"
ORG = "7b0f5a1e-55d1-4f0e-9c37-2f3a3a5d9e10"
CONTOSO = Tenant(
    tenant="contoso",
    provider=Provider.MICROSOFT,
    credential="ms",
    secret_conn_id="",
    scopes="",
    grace=timedelta(days=7),
    enabled=True,
    microsoft_tenant=ORG,
    canary="canary@contoso.example.com",
    required="User.Read.All",
)


DAG_RUN = DAG("onboard_tenants", schedule=None)


def context(run="run-1"):
    return {"dag": DAG_RUN, "run_id": run}


class Deployment:
    """A ledger with one tenant whose credential is registered, and the messages that were sent."""

    def __init__(self, folder, standin):
        self.folder, self.standin = folder, standin
        self.ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
        upgrade(self.ledger)
        sender = HttpxSender(standin.base_url, standin.api_key)
        sender.send(create_connector(Provider.MICROSOFT, "azure-app", "s", "common"))
        data = {"tenant": ORG, "client_id": "azure-app", "client_secret": "s"}
        kind = CredentialType.ADMIN_CONSENT
        made = sender.send(create_credential(Provider.MICROSOFT, "ms", kind, data))
        sender.close()
        record_credential(
            self.ledger,
            RegisteredCredential(made.credential_id, "f", self.now(), None),
            application=standin.client_id,
            provider=Provider.MICROSOFT,
            name="ms",
            credential_type=kind,
        )

    @staticmethod
    def now():
        return datetime.now(UTC)

    def take_up(self, run="run-1", at=None, tenant=CONTOSO, names=()):
        return take_up(
            self.ledger,
            self.standin.client_id,
            f"onboard_tenants/{run}",
            at or self.now(),
            listed=[tenant],
            names=names,
        )

    def request(self, run="run-1"):
        task = RequestConsentOperator(task_id="request_consent", tenant="contoso")
        return task.execute(context(run))

    def await_consent(self, run="run-1"):
        ConsentSensor(task_id="await_consent", tenant="contoso").execute(context(run))

    def change(self, **values):
        with self.ledger.begin() as connection:
            connection.execute(update(tenants).values(**values))

    def asked(self):
        with self.ledger.connect() as connection:
            return connection.execute(select(consents).order_by(consents.c.id)).all()

    def messages(self):
        file = self.folder / "messages.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def receive(self, link, **said):
        state = dict(one.split("=", 1) for one in urlsplit(link).query.split("&"))["state"]
        query = "&".join(f"{name}={value}" for name, value in {**said, "state": state}.items())
        application, key = self.standin.client_id, state_key(self.standin.api_key)
        return receive(self.ledger, query, application=application, key=key, now=self.now())


@pytest.fixture
def deployment(tmp_path, connect, nylas_default, monkeypatch, standin):
    connect("bulkgrants_ledger", conn_type="sqlite", host=str(tmp_path / "ledger.db"))
    notifier = {
        "class": "support.messengers.FileNotifier",
        "kwargs": {"path": str(tmp_path / "messages.jsonl")},
    }
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__CONSENT_NOTIFIER", json.dumps(notifier))
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__CONSENT_REDIRECT_URI", HERE)
    standin.control.set_redirect_uris(HERE)
    made = Deployment(tmp_path, standin)
    yield made
    made.ledger.dispose()


def test_runs_that_take_a_tenant_over_do_not_each_send_a_link(deployment):
    """No triggerer renews the hold, so a new run takes the tenant every few hours."""
    begun = deployment.now() - 8 * HOLD_TERM
    deployment.take_up(at=begun)
    deployment.request()
    for number in range(2, 10):
        deployment.change(claimed_until=deployment.now() - timedelta(seconds=1))
        run = f"run-{number}"
        assert deployment.take_up(run) != []
        assert deployment.request(run) is None
        with pytest.raises(TaskDeferred):
            deployment.await_consent(run)
    assert len(deployment.messages()) == 1


def test_a_task_that_is_repeated_in_its_run_makes_another_link(deployment):
    deployment.take_up()
    assert deployment.request() != deployment.request()
    assert len(deployment.messages()) == 2


@pytest.mark.parametrize("stopped", ["refused", "expired", "unhonoured"])
def test_a_task_that_a_person_clears_starts_over_whatever_the_tenant_rests_for(deployment, stopped):
    deployment.take_up()
    deployment.change(stopped=stopped, claimed_by=None, claimed_until=None)
    if stopped == "unhonoured":
        deployment.change(awaiting_since=None)
    assert deployment.request() is not None
    assert [one["message"] for one in deployment.messages()] == ["contoso False"]


def test_a_person_who_names_the_tenant_gets_a_link_at_once(deployment):
    deployment.take_up()
    deployment.request()
    deployment.take_up("manual", names=["contoso"])
    assert deployment.request("manual") is not None


def test_a_wait_never_succeeds_while_the_consent_is_pending(deployment):
    """The worker's clock is 20 seconds behind that of the worker where the wait began."""
    deployment.take_up(at=deployment.now() + timedelta(seconds=20))
    link = deployment.request()
    with pytest.raises(TaskDeferred):
        deployment.await_consent()
    assert [one["link"] for one in deployment.messages()] == [link]
    deployment.receive(link, admin_consent="true")
    deployment.await_consent()


def test_a_link_that_is_over_at_once_is_an_error_and_not_a_success(deployment, monkeypatch):
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__CONSENT_LINK_DAYS", "0.0000001")
    deployment.take_up()
    with pytest.raises(Misconfigured, match="consent_link_days"):
        deployment.await_consent()


def test_a_new_api_key_is_seen_and_the_admin_gets_a_link_that_works(deployment, connect):
    deployment.take_up()
    old = deployment.request()
    standin = deployment.standin
    extra = {"client_id": standin.client_id}
    fields = {"conn_type": "nylas", "host": standin.base_url, "extra": extra}
    connect("nylas_default", **fields, password="nyk_rotated_key_of_tests")
    with pytest.raises(TaskDeferred) as deferred:
        deployment.await_consent()
    first, second = deployment.messages()
    assert (first["message"], second["message"]) == ("contoso False", "contoso True")
    assert first["link"] == old != second["link"]
    before, after = deployment.asked()
    assert before.key_id != after.key_id == deferred.value.trigger.key_id
    with pytest.raises(TaskDeferred):
        deployment.await_consent()
    assert len(deployment.messages()) == 2


def fires(trigger):
    async def events():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(asyncio.wait_for(events(), 5))


@pytest.fixture
def waiting(deployment):
    """The trigger of a wait, for half a second."""
    deployment.take_up()
    deployment.request()

    def made(known):
        soon = (deployment.now() + timedelta(seconds=0.5)).isoformat()
        of = (deployment.standin.client_id, "contoso", RUN, soon, 0.05)
        return consent_trigger.ConsentTrigger(*of, known)

    consent_trigger._key_id.cache_clear()
    yield made
    consent_trigger._key_id.cache_clear()


def rotate(deployment, connect):
    standin = deployment.standin
    fields = {"host": standin.base_url, "extra": {"client_id": standin.client_id}}
    connect("nylas_default", conn_type="nylas", **fields, password="nyk_rotated_key_of_tests")


def test_the_trigger_wakes_the_task_after_a_new_api_key(deployment, waiting, connect, monkeypatch):
    monkeypatch.setattr(consent_trigger, "_KEY_AFTER", 0.0)
    known = deployment.asked()[0].key_id
    assert fires(waiting(known)) == [{"woken": "due"}]
    consent_trigger._key_id.cache_clear()
    rotate(deployment, connect)
    assert fires(waiting(known)) == [{"woken": "answered"}]
    assert fires(waiting("")) == [{"woken": "due"}]  # a trigger of an older release


def test_workers_and_triggerers_with_different_keys_do_not_wake_each_other_without_end(
    deployment, waiting, connect
):
    known = deployment.asked()[0].key_id
    rotate(deployment, connect)
    assert fires(waiting(known)) == [{"woken": "due"}]


def test_a_trigger_without_a_nylas_connection_still_notices_an_answer(
    deployment, waiting, monkeypatch
):
    monkeypatch.setattr(consent_trigger, "_KEY_AFTER", 0.0)
    monkeypatch.delenv("AIRFLOW_CONN_NYLAS_DEFAULT")
    known = deployment.asked()[0].key_id
    assert fires(waiting(known)) == [{"woken": "due"}]
    deployment.change(awaiting="propagation")
    assert fires(waiting(known)) == [{"woken": "answered"}]


def test_a_task_whose_tenant_another_run_has_is_skipped(deployment):
    deployment.take_up()
    deployment.take_up("manual", names=["contoso"])
    with pytest.raises(AirflowSkipException, match="Another run is now onboarding"):
        deployment.request()
    with pytest.raises(AirflowSkipException, match="Another run is now onboarding"):
        deployment.await_consent()
    assert deployment.messages() == []


@pytest.mark.parametrize("task", ["request", "await_consent"])
def test_a_task_whose_tenant_began_anew_is_skipped_and_the_next_run_takes_it(deployment, task):
    deployment.take_up()
    deployment.change(awaiting_since=None)  # and the run at work got the hold again
    with pytest.raises(AirflowSkipException, match="has begun anew"):
        getattr(deployment, task)()
    assert deployment.messages() == []
    assert len(deployment.take_up("run-2")) == 1


def test_no_admin_is_asked_for_a_tenant_without_a_canary_that_may_be_probed(deployment):
    bare = Tenant(**{name: getattr(CONTOSO, name) for name in CONTOSO.__slots__} | {"canary": ""})
    deployment.take_up(tenant=bare)
    with pytest.raises(Misconfigured, match="does not name a canary"):
        deployment.request()
    deployment.take_up()
    theirs = {"email": CONTOSO.canary, "provider": "microsoft", "credential_id": "theirs"}
    deployment.standin.control.seed([theirs | {"created_at": 1_600_000_000}])
    with pytest.raises(Misconfigured, match="a grant of another party"):
        deployment.request()
    assert deployment.asked() == []


@pytest.mark.parametrize("kind", ["provider_429", "nylas_429"])
def test_a_throttled_probe_defers_and_does_not_sleep_in_a_worker(deployment, kind):
    ago = deployment.now() - timedelta(minutes=10)
    deployment.take_up()
    deployment.change(awaiting="propagation", awaiting_since=ago)
    deployment.standin.control.add_fault(kind, retry_after=1200)
    sensor = PropagationSensor(task_id="await_propagation", tenant="contoso")
    begun = time.monotonic()
    for _ in range(2):  # the second one also meets the pause in the shared budget
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context())
        assert isinstance(deferred.value.trigger, MomentTrigger)
    assert time.monotonic() - begun < 10
    due = datetime.fromisoformat(deferred.value.trigger.moment)
    assert due > deployment.now() + timedelta(minutes=15)
