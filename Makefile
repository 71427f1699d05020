# Every target does its own set-up: a virtual environment in .venv, made once and
# refreshed when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: setup demo test test-all lint format clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[test,plot]"
	@touch $@

demo: $(READY)  ## the main job, on digits or on DATA=path
	$(RUN) examples/demo.py $(if $(DATA),--data "$(DATA)")

test: $(READY)  ## the whole suite but what is marked slow
	$(RUN) -m pytest -m "not slow"

test-all: $(READY)
	$(RUN) -m pytest

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
