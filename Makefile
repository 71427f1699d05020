# Every target does its own set-up: a virtual environment in .venv, made once and
# refreshed when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.ready-docs

.PHONY: setup demo test test-all lint docs paper format clean

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

# The published encoder, its images and its features, as the guide on reproducing the
# paper names them. The records of examples/benchmarks/paper are made by these lines.
FEATURES10 = $(DATA)/cifar10_lt_if100_resnet32_features.npz
FEATURES100 = $(DATA)/cifar100_lt_if10_resnet32_features.npz
IMAGES10 = $(DATA)/cifar10_lt_if100_images.npz
ENCODER10 = $(DATA)/cifar10_lt_if100_resnet32.safetensors
PAPER = $(RUN) examples/reproduce_paper.py

paper: $(READY)  ## its tables and figures, of the files in DATA=folder
	$(if $(DATA),,$(error Say where the published features are: make paper DATA=folder))
	$(PAPER) table1 $(FEATURES10) --seeds 5
	$(PAPER) table1 $(FEATURES100) --seeds 5
	$(PAPER) table1 $(IMAGES10) --weights $(ENCODER10) --mirror --seeds 5
	$(PAPER) groups $(FEATURES10) --seeds 5
	$(PAPER) steps $(FEATURES10) --seeds 3 --per-class 100
	$(PAPER) figure3 $(FEATURES10) --seeds 5
	$(PAPER) ratio $(FEATURES10) --seeds 5
	$(PAPER) ratio $(FEATURES100) --seeds 3
	$(PAPER) image-space $(IMAGES10) --weights $(ENCODER10) --seeds 1 --per-class 100 --budgets 1 10 80
	$(PAPER) table1 $(IMAGES10) --train --epochs 30 --seeds 1

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache docs/_build docs/generated \
		docs/auto_examples
