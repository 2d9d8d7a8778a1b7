"""A process like an idle Airflow task, which carries out steps and says what each one cost.

It reads one JSON object a line, `{"step": "plan", "arguments": {…}}`, calls the function `measured`
of `bench.steps.plan`, and answers with a line of figures. The memory is that of all it imports, the
time is its own. What anything else prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import TextIO

from bench.memory import peak_mb, resident_mb


def become_idle_task() -> float:
    """Import what a task process of Airflow has imported before its task begins; gives its MB."""
    importlib.import_module("airflow.sdk")
    importlib.import_module("airflow.sdk.execution_time.task_runner")
    return resident_mb()


def own_output() -> TextIO:
    """Standard output for the figures alone."""
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return output


def main() -> None:
    """Answer steps until the input ends."""
    output = own_output()
    idle = become_idle_task()
    for line in sys.stdin:
        job = json.loads(line)
        step = importlib.import_module(f"bench.steps.{job['step']}").measured
        begun, cpu = time.monotonic(), time.process_time()
        details = step(**job["arguments"])
        figures = {
            "seconds": time.monotonic() - begun,
            "cpu": time.process_time() - cpu,
            "ended": time.monotonic(),
            "idle_mb": idle,
            "above_idle_mb": peak_mb() - idle,
            "details": details,
        }
        output.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
