# `make help` lists the targets. A virtual environment is made in .venv on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types gallery guide golden bench clean

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("lrrun needs Python 3.10 or newer; try make PYTHON=python3.12") if sys.version_info < (3, 10) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)  ## Train configs/digits.yaml on real data and show the result
	$(BIN)/lrrun train configs/digits.yaml
	$(BIN)/lrrun show latest

test: $(READY)  ## Run the tests and doctests
	$(BIN)/python -m pytest -n auto

check: format lint types test  ## Everything that CI checks: format, lint, types, tests

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

gallery: $(READY)  ## Write docs/schedules.md and its pictures anew
	$(BIN)/python -m lrrun.render.gallery

guide: $(READY)  ## Write docs/choosing.md anew: all its runs, tables and pictures, in minutes
	$(BIN)/python benchmarks/guide/write.py

golden: gallery  ## Rewrite what is generated and checked in; read the diff

bench: $(READY)  ## Run the benchmarks; figures go to benchmarks/RESULTS.md by hand
	$(BIN)/python benchmarks/schedule_arrays.py
	$(BIN)/python benchmarks/reliability/costs.py
	$(BIN)/python benchmarks/reliability/kills.py --kills 100
	$(BIN)/python benchmarks/reliability/fuzz.py
	$(BIN)/python benchmarks/speed/steps.py
	$(BIN)/python benchmarks/speed/startup.py
	$(BIN)/python benchmarks/speed/fused.py
	$(BIN)/python benchmarks/speed/scale.py
	$(BIN)/python benchmarks/speed/gpu.py

clean:  ## Remove the environment and caches; runs are left alone
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build ./*.egg-info
