# Targets set up what they need: `make serve` and `make test` work on a fresh clone with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
SIDE_BY_SIDE := -n 2 --dist loadfile -m 'not alone'

.PHONY: help setup serve cluster test check audit format bench clean

help:  ## show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/dev  ## make .venv with everything for development

serve: .venv/run  ## run the server on http://localhost:8000
	@exec $(BIN)/mcp-actors serve

cluster: .venv/dev  ## run three processes and a Valkey server, on ports 8000 to 8002 (or PORT=...): rooms span them
	@exec $(BIN)/python -m bench cluster $(if $(PORT),--port $(PORT))

test: check  ## check, then run all tests: side by side, but for those that need the machine to themselves
	$(BIN)/pytest $(SIDE_BY_SIDE)
	$(BIN)/pytest $(SIDE_BY_SIDE) --loop asyncio tests/transports
	$(BIN)/pytest -m alone

check: .venv/dev  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

audit: .venv/audit  ## ask PyPI whether a hole is known in what the server depends on; needs its advisories in reach
	$(BIN)/pip-audit --strict --progress-spinner off .

bench: .venv/bench  ## a short tour of the bench suite; for all of it: python -m bench --help
	$(BIN)/python -m bench all --quick --against tornado,ws

format: .venv/dev  ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what the other targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/run

.venv/audit: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[audit]'
	@touch $@

.venv/bench: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ .venv/run
