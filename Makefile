# Bare `make` prints what each target does. Everything happens in .venv, which is built when it is needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test test-browser test-deep lint types fmt bench profile bench-auth bench-revoke bench-scale load screenshots docs clean

PYTHON ?= $(firstword $(foreach name,python3.11 python3 python,$(shell command -v $(name) 2>/dev/null)))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := pyproject.toml constraints.txt $(shell find gateway policies -name '*.py' -o -name '*.toml' -o -path '*/static/*')
RUN_ARGUMENTS ?=
BENCH_ARGUMENTS ?=
PROFILE_ARGUMENTS ?=

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/installed ## start a store, a demo API and the gateway in front of it, with curl lines to paste
	@exec $(BIN)/zonegate demo $(RUN_ARGUMENTS)

test: .venv/ready ## unit, integration and end-to-end tests, of the built wheel (under 5 minutes)
	$(BIN)/pytest -m "not deep and not browser" -n 4 --dist loadscope -q

test-browser: .venv/ready ## the dashboard in headless Chromium
	$(BIN)/pytest -m "browser and not deep" -n 2 --dist loadscope -q

test-deep: .venv/ready ## what takes longer: the same with more examples, and the deep tests
	$(BIN)/pytest -m deep -q
	ZONEGATE_HYPOTHESIS=deep $(BIN)/pytest -m "not deep" -n 4 --dist loadscope -q

lint: .venv/ready ## ruff (rules and format), import-linter, and whether tests/unit mirrors gateway
	$(BIN)/ruff check gateway tests
	$(BIN)/ruff format --check gateway tests
	$(BIN)/lint-imports
	$(BIN)/python tests/support/mirror.py

types: .venv/ready ## mypy --strict over gateway
	$(BIN)/mypy

fmt: .venv/ready ## format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix-only gateway tests
	$(BIN)/ruff format gateway tests

bench: .venv/measuring ## what the gateway costs beside nginx, haproxy, Caddy and others, and the targets (20 minutes)
	$(BIN)/python tests/load/route_matching.py
	$(BIN)/python tests/load/bench.py $(BENCH_ARGUMENTS)

profile: .venv/measuring ## where a request's time goes: a table, and a flame graph
	$(BIN)/python tests/load/flame_graph.py $(PROFILE_ARGUMENTS)

bench-auth: .venv/ready ## what authentication out of memory costs, in SHA-256s of the secret (at most 10)
	$(BIN)/python tests/load/bench_auth.py

bench-scale: .venv/ready ## what a million tokens cost: memory, pages, commands of the store (a minute)
	$(BIN)/python tests/load/scale.py

bench-revoke: .venv/ready ## how soon two gateways with two workers each obey a revocation (about 3 minutes)
	$(BIN)/python tests/load/bench_revoke.py

load: .venv/ready ## Locust's users with all kinds of tokens for a minute; fails if an answer is not the right one
	$(BIN)/python tests/load/load.py

screenshots: .venv/ready ## pictures of each page of the dashboard, light and dark, wide and narrow (build/screenshots), and those in the docs
	$(BIN)/python tests/browser/screenshots.py build/screenshots docs/images

docs: .venv/ready ## the documentation as a site, in build/site
	$(BIN)/python tests/support/reference_pages.py
	$(BIN)/mkdocs build --quiet

clean: ## remove what was built; the demo's tokens in .zonegate stay
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find gateway tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The package is installed as a wheel, as users have it, anew whenever a source changed.
.venv/installed: $(SOURCES) | .venv/built
	@echo "installing zonegate"
	@$(PIP) install -c constraints.txt --no-build-isolation .
	@$(PIP) install --no-deps --no-build-isolation --force-reinstall .
	@touch $@

.venv/ready: .venv/installed
	@echo "installing what tests and checks need"
	@$(PIP) install -c constraints.txt --no-build-isolation ".[dev,docs]"
	@touch $@

.venv/measuring: .venv/ready
	@echo "installing what the gateway is compared with and watched by"
	@$(PIP) install -c constraints.txt --no-build-isolation ".[bench]"
	@touch $@

.venv/built:
	@test -n "$(PYTHON)" || { echo "zonegate needs Python 3.11 or later"; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "zonegate needs Python 3.11 or later: make PYTHON=/path/to/it"; exit 2; }
	@"$(PYTHON)" -m venv .venv
	@$(PIP) install -c constraints.txt hatchling
	@touch $@
