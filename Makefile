# `make demo` and `make test` do all their own set-up; a second call installs nothing.

PYTHON ?= python3
JOBS ?= 2
PYTEST_ARGS ?=
DEMO_ARGS ?=
EVAL_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

# Nothing that we depend on may report home, also while we test it.
export DAGSTER_DISABLE_TELEMETRY := yes
export DO_NOT_TRACK := 1

.PHONY: help setup dev demo test check eval judgement format docs clean corpus corpus-model
.DEFAULT_GOAL := help

help: ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 10

setup: $(INSTALLED) ## create .venv with the pinned dependencies; then use .venv/bin/mendline

dev: $(INSTALLED_DEV) ## the same with the tools that the tests need

demo: $(INSTALLED) ## watch a 15-stage pipeline break and mend (DEMO_ARGS="--faults NAME,...")
	$(BIN)/mendline demo $(DEMO_ARGS)

test: $(INSTALLED_DEV) ## run every test (PYTEST_ARGS="-k name")
	$(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

check: $(INSTALLED_DEV) ## format, lint, types and the fast tests
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" --ignore=tests/scenarios $(PYTEST_ARGS)

eval: $(INSTALLED_DEV) ## measure the verdicts against the corpus (EVAL_ARGS="--part validation --failures")
	$(BIN)/mendline eval $(EVAL_ARGS)

judgement: $(INSTALLED_DEV) ## put the figures of the test part on record and write the page about them
	$(BIN)/mendline eval --part test --page docs/reference/judgement.md

format: $(INSTALLED_DEV) ## format the code and repair what the linter can
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

docs: $(INSTALLED) ## write the pages that are generated from the code
	$(BIN)/python -m mendline.surfaces.config_reference > docs/reference/configuration.md

corpus-model: $(INSTALLED_DEV) ## train the classifier on the corpus and write its weights
	PYTHONPATH=. $(BIN)/python -m corpus.model.train

corpus: ## provoke every failure of the corpus anew; needs root on Debian, about an hour (SYSTEMS="postgres ...")
	/usr/bin/python3 -m corpus.lab $(SYSTEMS)

clean: ## remove the environment and everything that was built or cached
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The build tool is pinned as well, hence no isolated build environment that would fetch its own.
# A stamp that is older than what it depends on installs again; pip then changes only what differs.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt setuptools
	$(PIP) install --quiet -c constraints.txt --no-build-isolation --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(PIP) install --quiet -c constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@
