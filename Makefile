# Everything that a person or CI runs; `make` alone says what there is.
# The environment passes through: MYCERT_HOME, MYCERT_PORT, MYCERT_STATUS_PORT, MYCERT_CONFIG.

.DEFAULT_GOAL := help
.PHONY: help demo setup setup-test lint test test-all slow bench docs lock clean

PYTEST := .venv/bin/python -m pytest

help:
	@echo 'make demo      set up everything, then serve it on http://127.0.0.1:8000 until interrupted'
	@echo 'make test      set up everything, then the checks and tests that CI runs'
	@echo 'make test-all  the same and the long matrices'
	@echo 'make lint      only the checks: ruff, mypy, import-linter'
	@echo 'make bench     measure'
	@echo 'make docs      write docs/openapi.json and docs/cli.md anew, which tests compare'
	@echo 'make lock      lock the dependencies anew (requirements/*.in to requirements/*.txt)'
	@echo 'make clean     remove what the set-up and the tools made; the data in var/ stays'

demo:
	@exec scripts/demo.sh

setup:
	@scripts/setup.sh demo

setup-test:
	@scripts/setup.sh test

lint: setup-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

test: lint
	$(PYTEST) -m 'not slow'

# pytest fails where it finds no test to run, and shall; only while none is marked is there nothing to run.
slow: setup-test
	@if grep -rqE --include='*.py' 'mark\.slow' tests; then set -x; exec $(PYTEST) -m slow; else echo 'no slow tests yet'; fi

test-all: test slow

bench: setup-test
	.venv/bin/python -m tests.bench

docs: setup-test
	.venv/bin/python -m tests.documents

lock:
	@scripts/lock.sh

clean:
	rm -rf .venv bin build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
