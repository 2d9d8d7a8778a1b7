"""`python -m demo` exits with 0 only if all is as it should be; `--stay` keeps Airflow running."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from demo import folder as folders
from demo.environment import USER, airflow_environment, choose_ports
from demo.errors import DemoError
from demo.folder import Folder
from demo.leaks import leaks
from demo.nylas import standing_in
from demo.rest import Airflow
from demo.samples import load_warehouse, read_samples
from demo.secrets_made import Secrets, make_secrets
from demo.standalone import standing_alone
from demo.story import Stage, tell
from demo.terminal import Terminal

Epilogue = Callable[[Stage], list[str]]
"""What is done after the story, while all is still running; gives complaints, as the story does."""


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="leave Airflow running until Ctrl-C")
    stay = parser.parse_args().stay
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    return demo(epilogue=_stay if stay else None, login=stay)


def demo(
    *, path: Path = folders.DEFAULT, epilogue: Epilogue | None = None, login: bool = False
) -> int:
    """The whole of it; gives the exit code."""
    terminal = Terminal()
    try:
        with folders.fresh(path) as folder:
            samples = read_samples()
            secrets = make_secrets(samples.secret_conn_ids())
            complaints = _play(folder, secrets, terminal, epilogue, login=login)
            found, places = leaks(secrets.traces(), folder.path, terminal.everything_said())
    except DemoError as error:
        terminal.say(str(error), "bold red")
        return 1
    except KeyboardInterrupt:
        terminal.say("Interrupted; everything that was started is stopped", "yellow")
        return 130
    if not found:
        terminal.say(f"No key and no secret in {places} places: logs, databases, this terminal")
    return _conclude(terminal, complaints + found)


def _play(
    folder: Folder,
    secrets: Secrets,
    terminal: Terminal,
    epilogue: Epilogue | None,
    *,
    login: bool,
) -> list[str]:
    samples = read_samples()
    load_warehouse(folder.warehouse, samples)
    terminal.chapter("Start")
    with ExitStack() as stack:
        nylas = stack.enter_context(standing_in(secrets))
        nylas.arrange(samples, secrets)
        terminal.say(f"A stand-in for Nylas listens on {nylas.base_url}")
        ports = choose_ports()
        nylas.expect_admins(f"{ports.base_url}/bulkgrants/consent")
        terminal.say(f"Airflow starts on {ports.base_url}")
        if login:
            terminal.say(f"Log in as {USER} with the password {secrets.password}", "bold")
        environment = airflow_environment(folder, ports, nylas, secrets)
        standalone = stack.enter_context(standing_alone(folder, environment, secrets))
        airflow = stack.enter_context(closing(Airflow(ports, secrets)))
        stage = Stage(folder, samples, nylas, standalone, airflow, terminal)
        complaints = tell(stage)
        if epilogue is not None:
            complaints += epilogue(stage)
        terminal.chapter("The end")
        terminal.say("Stopping Airflow and the stand-in")
    left = standalone.processes()
    return complaints + [f"Process {process.pid} is still alive." for process in left]


def _conclude(terminal: Terminal, complaints: list[str]) -> int:
    took = f"in {terminal.seconds:.0f} s"
    if not complaints:
        terminal.say(f"All is as it should be, {took}", "bold green")
        return 0
    for complaint in complaints:
        terminal.say(complaint, "bold red")
    terminal.say(f"{len(complaints)} things are not as they should be, {took}", "bold red")
    return 1


def _stay(stage: Stage) -> list[str]:
    """Wait for Ctrl-C, and look after Airflow meanwhile."""
    stage.terminal.chapter("Airflow is yours")
    stage.terminal.say("Its address and password stand above; Ctrl-C stops it", "bold")
    try:
        while True:
            stage.standalone.require_alive()
            time.sleep(1)
    except KeyboardInterrupt:
        return []


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
