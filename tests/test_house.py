"""What holds for the repository as a whole: its locks, its targets, the size of its DAG files."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, BUILD = SETTINGS["project"], SETTINGS["build-system"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name):
    found = re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)", read(name), re.MULTILINE)
    return {canonical(package): version for package, version in found}


def wanted(requirements):
    return {canonical(re.match(r"[\w.-]+", one)[0]) for one in requirements}


LOCKS = ["requirements.txt", "requirements-dev.txt", "scripts/uv.txt"]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_by_version_and_hash(name):
    text = read(name).replace("\\\n", " ")
    for line in text.splitlines():
        if not line.lstrip().startswith("#"):
            assert re.fullmatch(
                r"\S+==\S+ (?:; [^\\]+?)?(?:\s+--hash=sha256:[0-9a-f]{64})+", line
            ), line
    assert "://" not in text


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_a_lock_has_all_that_the_project_runs_with_and_what_builds_it(name):
    assert wanted(PROJECT["dependencies"]) <= pins(name).keys()
    assert pins(name)["hatchling"] == "1.33.0"
    assert PROJECT["optional-dependencies"]["build"] == BUILD["requires"] == ["hatchling==1.33.0"]
    assert wanted(PROJECT["optional-dependencies"]["scaled-out"]) <= pins(name).keys()


def test_what_is_tested_is_what_runs():
    running, working = pins("requirements.txt"), pins("requirements-dev.txt")
    assert running.items() <= working.items()
    assert wanted(PROJECT["optional-dependencies"]["test"]) <= working.keys()


def test_make_alone_shows_every_target_that_the_readme_names():
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    targets = re.findall(r"^  make (\S+) +\S", shown, re.MULTILINE)
    named = set(re.findall(r"(?:`|^\$ )make ([a-z]+)", read("README.md"), re.MULTILINE))
    assert {"demo", "test"} <= named <= set(targets)


def test_ci_runs_the_readmes_test_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").rstrip().endswith("exec make test")


def test_dag_files_fit_on_a_screen():
    dags = {path.name: read(path).count("\n") for path in (ROOT / "dags").glob("*.py")}
    assert dags
    assert {name: lines for name, lines in dags.items() if lines > 80} == {}


def test_only_the_ledger_opens_transactions_and_runs_statements():
    work = ROOT / "include" / "bulkgrants"
    ledger = {*(work / "ledger").rglob("*.py"), work / "rosters" / "warehouse.py"}
    calls = {
        (path.relative_to(work).as_posix(), node.func.attr)
        for path in {*work.rglob("*.py")} - ledger
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert ("reconcile/apply.py", "add") in calls
    assert {one for one in calls if one[1] in {"begin", "connect", "execute"}} == set()


def test_only_the_check_of_a_right_makes_a_transaction_for_it():
    made = [
        path.name
        for folder in ("include/bulkgrants", "plugins")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Writing"
    ]
    assert made == ["rights.py"]


@pytest.fixture
def make_environment():
    spec = importlib.util.spec_from_file_location(
        "make_environment", ROOT / "scripts/make_environment.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_python_of_today_may_make_the_environment(make_environment):
    assert make_environment.why_not() == ""


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 10, 14), (3, 14, 0)])
def test_another_python_is_told_which_one_is_needed(make_environment, monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    assert "needs Python 3.11, 3.12 or 3.13" in make_environment.why_not()


def test_a_python_without_venv_is_told_what_to_install(make_environment, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "apt-get install python3" in make_environment.why_not()
