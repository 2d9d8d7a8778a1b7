"""The button in Airflow's UI that opens a consent link."""

from __future__ import annotations

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey


class ConsentLink(BaseOperatorLink):
    """What the task holds in its attribute `link`, also while it is deferred.

    Airflow asks for it in the worker whenever a run of the task ends, and keeps it as an XCom.
    """

    @property
    def name(self) -> str:
        """The words on the button."""
        return "Consent link for the admin"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's interface
        """The link; empty where none is needed."""
        link = getattr(operator, "link", None)
        return link if isinstance(link, str) else ""
