"""Triggers as a triggerer stores and runs them, and their events as sensors read them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pkgutil import resolve_name

import pytest
from airflow.sdk.exceptions import AirflowFailException

from bulkgrants_airflow.triggers.consent import ConsentTrigger
from bulkgrants_airflow.triggers.events import Woken, woken
from bulkgrants_airflow.triggers.moment import MomentTrigger

MOMENT = datetime(2030, 5, 1, 12, tzinfo=UTC).isoformat()


@pytest.mark.parametrize(
    "trigger",
    [
        MomentTrigger(MOMENT),
        ConsentTrigger("application", "contoso", "onboard_tenants/one", MOMENT, 15.0),
    ],
)
def test_a_trigger_can_be_made_again_from_what_is_stored_with_the_same_moment(trigger):
    path, kwargs = trigger.serialize()
    again = resolve_name(path)(**kwargs)
    assert type(again) is type(trigger)
    assert again.serialize() == (path, kwargs)
    assert MOMENT in kwargs.values()


def test_a_task_deferred_before_an_upgrade_finds_its_trigger_after_it():
    """Airflow stores these class paths while a task is deferred, so they never change."""
    paths = {
        "bulkgrants_airflow.triggers.consent.ConsentTrigger": ConsentTrigger,
        "bulkgrants_airflow.triggers.moment.MomentTrigger": MomentTrigger,
    }
    assert {path: resolve_name(path) for path in paths} == paths


@pytest.mark.parametrize(
    "trigger",
    [
        MomentTrigger,
        lambda moment: ConsentTrigger("application", "contoso", "one", moment, 15.0),
    ],
)
def test_a_moment_that_passed_while_no_triggerer_ran_fires_at_once(trigger):
    passed = (datetime.now(UTC) - timedelta(days=1)).isoformat()

    async def fired():
        return [event.payload async for event in trigger(passed).run()]

    (payload,) = asyncio.run(asyncio.wait_for(fired(), 5))
    assert woken(payload) is Woken.DUE


@pytest.mark.parametrize("event", [None, "due", {}, {"woken": "later"}, {"status": "success"}, []])
def test_an_event_of_an_unknown_kind_fails_the_task(event):
    with pytest.raises(AirflowFailException, match=r"event that is not known here.*clear the task"):
        woken(event)


@pytest.mark.parametrize("kind", list(Woken))
def test_our_events_are_known(kind):
    assert woken({"woken": str(kind)}) is kind
