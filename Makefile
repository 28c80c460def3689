# Targets install what they need: `make serve` and `make test` work on a fresh clone with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
PARALLEL := -n 3 --dist worksteal -m
WITH_ASYNCIO := adapters/asgi adapters/http adapters/tornado connection endpoints ws test_limits.py test_order.py test_resume.py

# The tests start Python a thousand times, which would compile all modules each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup serve cluster compile pure test check docs pins chart audit format screenshots bench simulate clean

help:  ## show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/dev  ## create .venv with everything for development

serve: .venv/run  ## run the server on http://localhost:8000
	@exec $(BIN)/mcp-actors serve

cluster: .venv/dev  ## run three processes that share rooms through a Valkey server, on ports 8000 to 8002 (or PORT=...)
	@exec $(BIN)/python -m bench cluster $(if $(PORT),--port $(PORT))

compile: .venv/compile  ## compile the modules on the path of a message, in this checkout; edits of them then need it again
	$(BIN)/python hatch_build.py

pure: .venv/compile  ## undo make compile
	$(BIN)/python hatch_build.py --clean

test: check  ## check, then run all tests: in parallel, except those that load the machine
	$(BIN)/pytest $(PARALLEL) 'not alone and not heavy and not browser'
	$(BIN)/pytest $(PARALLEL) browser tests/web
	$(BIN)/pytest $(PARALLEL) 'not alone' --loop asyncio $(addprefix tests/,$(WITH_ASYNCIO))
	$(BIN)/pytest -n 2 --dist loadgroup -m heavy tests/bench
	$(BIN)/pytest -m alone $(wildcard tests/test_*.py)

check: .venv/dev  ## check format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

pins: .venv/pins  ## pin the packages of the container, with their hashes, to the newest that the project accepts
	echo hatchling | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --custom-compile-command 'make pins' --output-file deploy/requirements.txt pyproject.toml -

docs: .venv/docs  ## build the documentation in build/docs; a warning is an error
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going docs build/docs
	@echo "Open build/docs/index.html."

chart: .venv/dev  ## render deploy/helm to deploy/kubernetes
	$(BIN)/python -m tests.support.chart >deploy/kubernetes/mcp-actors.yaml

audit: .venv/audit  ## ask PyPI for known vulnerabilities of the dependencies
	$(BIN)/pip-audit --strict --progress-spinner off .

screenshots: .venv/dev  ## take pictures of the demo page in all its states, in build/screenshots (or OUT=...)
	$(BIN)/python -m tests.web.screenshots $(or $(OUT),build/screenshots) $(STATES)

bench: .venv/bench  ## a short tour of the bench suite; python -m bench --help shows all of it
	$(BIN)/python -m bench all --quick --against tornado,ws

simulate: .venv/dev  ## simulate clusters under faults from fresh seeds, for ten minutes (or DURATION=... seconds) or until one fails
	$(BIN)/python -m tests.simulation --seconds $(or $(DURATION),600)

format: .venv/dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what the other targets created
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

.venv/compile: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[compile]'
	@touch $@ .venv/run

.venv/audit: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[audit]'
	@touch $@

.venv/pins: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[pins]'
	@touch $@

.venv/docs: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@ .venv/run

.venv/bench: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ .venv/run
