# Names only. A target that needs the environment makes it, so each works as the first one ever run.

PYTHON ?= python3
BIN = .venv/bin

.DEFAULT_GOAL := help
.PHONY: help environment demo up test lint types bench mutants docs lock clean

help: ## Show these targets
	@$(PYTHON) scripts/show_targets.py Makefile

environment: ## Make .venv as the lock says, if it is not so already
	@$(PYTHON) scripts/make_environment.py

demo: environment ## Reconcile a small roster through a real Airflow, and show who got what and why
	@$(BIN)/python -m demo

up: environment ## The same, and leave Airflow's UI running until Ctrl-C
	@$(BIN)/python -m demo --stay

test: lint types ## Everything that has to hold: lint, types, tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: environment ## Style, formatting, and which layer may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: environment ## Types
	$(BIN)/mypy

bench: environment ## Measure what the README claims
	$(BIN)/python -m bench

mutants: environment ## Mutate the decisions and guards, and count what the tests miss
	@$(BIN)/python scripts/count_mutants.py

docs: environment ## Make the generated parts of docs/ anew
	$(BIN)/python scripts/make_docs.py

lock: environment ## Make the two locks anew from pyproject.toml
	$(BIN)/python scripts/lock.py

clean: ## Remove everything that was made: the environment, the demo's state, caches
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .mutants bench/results
