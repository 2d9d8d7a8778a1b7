"""What a triggerer makes of our triggers, and what the sensors make of its events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pkgutil import resolve_name

import pytest
from airflow.sdk.exceptions import AirflowFailException

from bulkgrants_airflow.events import Woken, woken
from bulkgrants_airflow.triggers.consent import ConsentTrigger
from bulkgrants_airflow.triggers.moment import MomentTrigger

MOMENT = datetime(2030, 5, 1, 12, tzinfo=UTC).isoformat()


@pytest.mark.parametrize(
    "trigger",
    [
        MomentTrigger(MOMENT),
        ConsentTrigger("application", "contoso", "onboard_tenants/one", MOMENT, 15.0),
    ],
)
def test_a_trigger_is_made_anew_from_what_it_serialises_with_the_same_moment(trigger):
    path, kwargs = trigger.serialize()
    again = resolve_name(path)(**kwargs)
    assert type(again) is type(trigger)
    assert again.serialize() == (path, kwargs)
    assert MOMENT in kwargs.values()


@pytest.mark.parametrize(
    "trigger",
    [
        MomentTrigger,
        lambda moment: ConsentTrigger("application", "contoso", "one", moment, 15.0),
    ],
)
def test_a_moment_that_has_passed_while_nobody_waited_fires_at_once(trigger):
    passed = (datetime.now(UTC) - timedelta(days=1)).isoformat()

    async def fired():
        return [event.payload async for event in trigger(passed).run()]

    (payload,) = asyncio.run(asyncio.wait_for(fired(), 5))
    assert woken(payload) is Woken.DUE


@pytest.mark.parametrize("event", [None, "due", {}, {"woken": "later"}, {"status": "success"}, []])
def test_an_event_that_is_none_of_ours_fails_the_task(event):
    with pytest.raises(AirflowFailException, match=r"event that is not known here.*clear the task"):
        woken(event)


@pytest.mark.parametrize("kind", list(Woken))
def test_our_events_are_known(kind):
    assert woken({"woken": str(kind)}) is kind
