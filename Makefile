# Two commands do everything on a machine with Python 3.11 or newer, git and make:
#   make demo    a conversation on a local Upstash, read back by a second process
#   make test    the tests, in about 8 minutes
PYTHON ?= python3
VENV := .venv
LOWEST := .venv-lowest
AUDIT := .venv-audit
BENCH := .venv-bench
DOCS := .venv-docs
BIN := $(VENV)/bin
JS := tests/interop/js

.PHONY: demo chat browser test test-long test-lowest lint types fix check docs dist audit bench bench-gateway plots lock clean
.DEFAULT_GOAL := test

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py

# The example of a chat, at http://127.0.0.1:8000, on a local Upstash.
chat: $(VENV)/installed
	cd examples/chat_app && ../../$(BIN)/chatstash dev -- ../../$(BIN)/uvicorn app:app

# Chromium for the tests of a page, where apt can install it. Without a browser, these tests skip.
browser:
	tools/browser.sh

test: $(VENV)/installed $(JS)/node_modules/installed
	$(BIN)/python -m pytest -n 2 -m "not long"

# Soak, chaos and kill tests: minutes, not seconds.
test-long: $(VENV)/installed $(JS)/node_modules/installed
	$(BIN)/python -m pytest -n 2 -m long --timeout 1200

# Measure, and assert nothing: what the pages on performance and scale say, and the local server alone.
bench: $(BENCH)/installed
	$(BENCH)/bin/python -m benchmarks.compare --json benchmarks/results/compare.json
	$(BENCH)/bin/python -m benchmarks.turn --json benchmarks/results/turn.json
	$(BENCH)/bin/python -m benchmarks.growth --json benchmarks/results/growth.json
	$(BENCH)/bin/python -m benchmarks.install --json benchmarks/results/install.json
	$(BENCH)/bin/python -m benchmarks.scale --json benchmarks/results/scale.json
	$(BENCH)/bin/python -m benchmarks.sessions --json benchmarks/results/sessions.json
	$(BENCH)/bin/python -m benchmarks.checkpointers --json benchmarks/results/checkpointers.json

bench-gateway: $(VENV)/installed
	$(BIN)/python -m benchmarks.gateway --json benchmarks/results/gateway.json

# Draws the results, and puts their figures into the pages.
plots: $(BENCH)/installed
	$(BENCH)/bin/python -m benchmarks.plots
	$(BENCH)/bin/python -m benchmarks.page

# The same tests with the oldest versions that pyproject.toml allows of what users bring themselves.
test-lowest: $(LOWEST)/installed $(JS)/node_modules/installed
	$(LOWEST)/bin/python -m pytest -n 2 -m "not long"

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/installed
	$(BIN)/mypy

# Repairs what ruff can repair.
fix: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Builds the site into site/. A broken link, an unknown name, and a docstring that contradicts its signature are errors.
# Zensical prints warnings about docstrings, but does not count them.
docs: $(VENV)/installed $(DOCS)/installed
	mkdir -p build
	$(BIN)/python -m typer chatstash.cli.app utils docs --name chatstash --output build/command-line.md
	$(DOCS)/bin/zensical build --clean --strict >build/docs.log 2>&1 || { cat build/docs.log; exit 1; }
	! grep '^griffe: ' build/docs.log

check: test lint types docs

# The files for PyPI, built with the locked backend.
dist: $(VENV)/installed
	rm -rf dist
	$(BIN)/python -m hatchling build

$(VENV)/installed: requirements/dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chatstash needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(AUDIT)/installed:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet pip-audit
	touch $@

$(LOWEST)/installed: requirements/lowest.lock pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --require-hashes -r requirements/lowest.lock
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(DOCS)/installed: requirements/docs.lock
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --require-hashes -r requirements/docs.lock
	touch $@

# With the other libraries that are measured.
$(BENCH)/installed: requirements/bench.lock pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --require-hashes -r requirements/bench.lock
	$(BENCH)/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# Node is optional: without it, the tests that need it say so and skip.
$(JS)/node_modules/installed: $(JS)/package-lock.json
	mkdir -p $(JS)/node_modules
	if command -v npm >/dev/null; then cd $(JS) && npm ci --silent --no-audit --no-fund; else echo "npm not found: the LangChain.js tests will skip"; fi
	touch $@

# Compares the locked versions with known advisories; needs the internet. --strict, for otherwise an index without
# advisories passes for one without findings.
audit: $(AUDIT)/installed
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/dev.lock
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/lowest.lock

# Writes the lock files anew; needs uv.
lock:
	uv pip compile -q --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --extra dev --extra agents-dev pyproject.toml requirements/build.in -o requirements/dev.lock
	uv pip compile -q --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --resolution lowest-direct --extra dev pyproject.toml requirements/build.in -o requirements/lowest.lock
	uv pip compile -q --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --extra dev --extra agents-dev pyproject.toml requirements/build.in requirements/bench.in -o requirements/bench.lock
	uv pip compile -q --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-emit-index-url requirements/docs.in -o requirements/docs.lock
	cd $(JS) && npm install --package-lock-only --silent --no-audit --no-fund

clean:
	rm -rf $(VENV) $(LOWEST) $(AUDIT) $(BENCH) $(DOCS) $(JS)/node_modules build dist site
