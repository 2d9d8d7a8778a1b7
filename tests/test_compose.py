"""docker-compose.yaml, as far as it can be checked without containers."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    if "=" in line and not line.startswith("#")
)
LONG_RUNNING = ["api-server", "scheduler", "dag-processor", "triggerer", "worker"]
STEPS = ["airflow-init", "ledger-init"]
PLAIN = {"PORT", "TEST_CONNECTION"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:[-?][^}]*)?\}")


def strings(value):
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from strings(one)
        case list():
            for one in value:
                yield from strings(one)


def test_the_services_are_those_of_a_scaled_out_airflow():
    stores = ["metadata", "ledger", "redis"]
    assert sorted(SERVICES) == sorted([*LONG_RUNNING, *STEPS, *stores, "standin"])


@pytest.mark.parametrize("name", LONG_RUNNING + STEPS)
def test_every_airflow_service_has_the_same_settings(name):
    shared = COMPOSE["x-airflow-environment"]
    assert shared.items() <= SERVICES[name]["environment"].items()
    assert SERVICES[name]["image"] == SERVICES["worker"]["image"]


@pytest.mark.parametrize(
    "setting",
    [
        "AIRFLOW__CORE__EXECUTOR",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__CELERY__BROKER_URL",
        "AIRFLOW__CELERY__RESULT_BACKEND",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW_CONN_BULKGRANTS_LEDGER",
    ],
)
def test_what_airflows_parts_must_agree_on_is_shared(setting):
    assert COMPOSE["x-airflow-environment"][setting]


def test_every_setting_is_one_that_airflow_knows():
    folder = Path(importlib.util.find_spec("airflow").submodule_search_locations[0])
    known = yaml.safe_load((folder / "config_templates" / "config.yml").read_text(encoding="utf-8"))
    demo = (ROOT / "demo" / "airflow.py").read_text(encoding="utf-8")
    names = [*COMPOSE["x-airflow-environment"]]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    names += re.findall(r"(AIRFLOW__\w+)=", dockerfile)
    names += [f"AIRFLOW__{name}" for name in re.findall(r'"([A-Z]+_*[A-Z]*__\w+)"', demo)]
    assert len(names) > 25
    for name in names:
        if name.startswith("AIRFLOW__") and not re.search("__(CELERY|BULKGRANTS)__", name):
            _, section, option = name.lower().split("__", 2)
            assert option in known[section]["options"]


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_long_running_services_are_watched_and_wait_for_both_migrations(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    for step in STEPS:
        assert service["depends_on"][step] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_done_once(name):
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_only_for_what_can_come_true(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        if how["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no"


def test_volumes_are_those_that_are_declared():
    used = {
        mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])


def test_ports_are_open_to_this_machine_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 1
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_standin_is_opt_in_and_reachable_only_from_the_worker():
    standin = SERVICES["standin"]
    assert standin["profiles"] == ["standin"]
    assert standin["network_mode"] == "service:worker"
    assert "ports" not in standin
    assert "--host" not in " ".join(standin["command"])  # its own default is loopback


def test_no_secret_has_a_default_or_a_value():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD$|SECRET|_KEY$", name):
                assert VARIABLE.fullmatch(value), name
            for login in re.findall(r"://[^/@:]*:([^@]*)@", value):
                assert VARIABLE.fullmatch(login), name
    for name, how in VARIABLE.findall(" ".join(strings(COMPOSE))):
        assert how.startswith(":?") or name in PLAIN | {"STANDIN_API_KEY"}, name


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_an_argument_of_a_process(name):
    """A script of `sh -c` may name a secret's variable only where no argument is made of it."""
    command = SERVICES[name].get("command", [])
    health = SERVICES[name].get("healthcheck", {}).get("test", [])
    words = [command] if isinstance(command, str) else [*command, *health]
    for word in words:
        script, _, heredoc = word.partition("<<EOF")
        assert not VARIABLE.search(word), word
        for used in re.findall(r"(\S*)\$\$\{?\w*(?:PASSWORD|KEY|SECRET)\b", script):
            assert used == 'REDISCLI_AUTH="', word  # a variable of the command's own environment
        assert not heredoc or heredoc.rstrip().endswith("EOF")


def test_redis_reads_its_password_from_stdin():
    script = SERVICES["redis"]["command"][-1].replace("$$", "$")
    script = script.replace("exec redis-server -", "cat")
    done = subprocess.run(
        ["sh", "-ec", script],
        env={"PATH": os.environ["PATH"], "REDIS_PASSWORD": "hush-_9"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == 'save ""\nrequirepass hush-_9\n'


def test_connections_have_no_test_button_unless_it_is_turned_on():
    setting = COMPOSE["x-airflow-environment"]["AIRFLOW__CORE__TEST_CONNECTION"]
    assert setting == "${TEST_CONNECTION:-Disabled}"


def test_the_example_names_every_variable_and_fills_in_no_secret():
    assert {name for name, _ in VARIABLE.findall(" ".join(strings(COMPOSE)))} == set(EXAMPLE)
    assert {name for name, value in EXAMPLE.items() if value} == PLAIN


def test_the_image_is_of_the_airflow_that_is_locked_and_holds_what_it_copies():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    version = re.search(
        r"^FROM apache/airflow:slim-([\d.]+)-python3\.11$", dockerfile, re.MULTILINE
    )
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert f"\napache-airflow=={version[1]} " in lock
    copied = {
        name.rstrip("/")
        for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)
        for name in line.split()
    }
    admitted = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    assert copied == admitted
    assert all((ROOT / name).exists() for name in copied)


def test_the_images_user_can_neither_change_nor_replace_the_code():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    steps = re.findall(r"^(COPY|USER|RUN|ENV) (.+?)$", dockerfile, re.MULTILINE)
    assert "--chown" not in dockerfile
    user, open_to = "airflow", set()
    for step, what in steps:
        if step == "USER":
            user = what
        if step == "COPY":
            *_, folder = what.split()
            assert folder.startswith("/opt/bulkgrants/"), what  # not below Airflow's own home
            open_to.add(folder)
        if step == "RUN" and "chmod -R u=rwX,go=rX /opt/bulkgrants" in what:
            assert user == "root"
            open_to.clear()
    assert not open_to
    assert user == "airflow"
    for folder in ("dags", "plugins"):
        assert f"AIRFLOW__CORE__{folder.upper()}_FOLDER=/opt/bulkgrants/{folder}" in dockerfile


def test_every_file_that_the_image_downloads_has_its_hash():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install (.+?)(?: \\)?$", dockerfile, re.MULTILINE)
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert {"--no-deps", "--no-build-isolation"} <= set(installs[1].split())
