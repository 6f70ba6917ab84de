# `make run` and `make test` do all their set-up on a bare Debian machine with Python 3.11.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := services libs tests bench scripts
.DEFAULT_GOAL := help

.PHONY: help run demo test check lint format types imports cases cases-check stubs stubs-check openapi openapi-check bench guard fuzz torture replicas lock clean peers clients

help:
	@echo "make run       the suite on loopback, data under ./var"
	@echo "make demo      send mail through a throw-away suite and show each message's fate"
	@echo "make test      the whole test suite (installs test servers from Debian packages when missing)"
	@echo "make check     lint, types, import rules, generated files"
	@echo "make bench     side by side with real peers"

$(STAMP): requirements.lock pyproject.toml scripts/set-up
	@PYTHON=$(PYTHON) VENV=$(VENV) bash scripts/set-up
	@touch $@

peers:
	@bash scripts/install-peers

run: $(STAMP)
	@$(BIN)/posthouse up

demo: $(STAMP)
	@$(BIN)/posthouse demo

test: $(STAMP) peers
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: lint types imports stubs-check openapi-check cases-check

lint: $(STAMP)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

format: $(STAMP)
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

types: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

stubs: $(STAMP)
	@$(BIN)/python scripts/generate_stubs.py proto

stubs-check: $(STAMP)
	@$(BIN)/python scripts/generate_stubs.py --check proto

openapi: $(STAMP)
	@$(BIN)/python -m services.config_api.openapi > openapi.json

openapi-check: $(STAMP)
	@$(BIN)/python -m services.config_api.openapi | diff -u openapi.json - || { echo "openapi.json is stale: make openapi"; exit 1; }

cases: $(STAMP)
	@$(BIN)/python scripts/cases.py --fix

cases-check: $(STAMP)
	@$(BIN)/python scripts/cases.py

clients: $(STAMP)
	@bash scripts/check-clients

bench: $(STAMP) peers
	@$(BIN)/python -m bench

guard: $(STAMP)
	@$(BIN)/python -m bench.guard

fuzz: $(STAMP)
	@$(BIN)/python -m tests.fuzz

torture: $(STAMP) peers
	@$(BIN)/python -m pytest tests/relay/test_crash.py tests/e2e/test_torture.py --torture -s

replicas: $(STAMP) peers
	@POSTHOUSE_REPLICAS_SECONDS=60 $(BIN)/python -m pytest tests/e2e/test_replicas.py -s --timeout 900

lock: $(STAMP)
	@$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --universal --upgrade -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
