"""A notifier that writes messages to a file, so that the test can read them in another process."""

import json
from pathlib import Path

from airflow.sdk import BaseNotifier


class FileNotifier(BaseNotifier):
    """One line of JSON for each message."""

    template_fields = ("message",)

    def __init__(self, path, message="{{ consent_tenant }} {{ consent_is_reminder }}"):
        super().__init__()
        self.path = path
        self.message = message

    def notify(self, context):
        told = {"message": self.message, "link": context["consent_link"]}
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
