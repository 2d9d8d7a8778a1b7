"""What triggers tell the sensors that they wake; any other event is an error."""

from __future__ import annotations

from enum import StrEnum

from airflow.sdk.exceptions import AirflowFailException

from bulkgrants.text import bounded


class Woken(StrEnum):
    """Why a sensor is woken. The sensor checks the ledger itself, so an event may come twice."""

    ANSWERED = "answered"
    """Something has happened to the tenant that the sensor waits for."""
    DUE = "due"
    """The time has come that the sensor waits for."""


def woken(event: object) -> Woken:
    """The event as a value. Raises AirflowFailException for an event of another kind."""
    kind = event.get("woken") if isinstance(event, dict) else None
    try:
        return Woken(kind or "")
    except ValueError:
        raise AirflowFailException(
            f"The trigger sent an event that is not known here: {bounded(repr(event), 120)}. "
            "Restart the triggerer if the project was upgraded, and clear the task."
        ) from None
