# Every target does its own set-up: a virtual environment in .venv, made once and
# refreshed when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.ready-docs

.PHONY: setup demo test test-all lint docs format clean

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
	$(RUN) -m mypy

$(DOCS_READY): pyproject.toml $(READY)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[docs,plot]"
	@touch $@

docs: $(DOCS_READY)  ## the site, with the gallery: docs/_build/html/index.html
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	$(RUN) docs/check_site.py docs/_build/html

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache docs/_build docs/generated \
		docs/auto_examples
