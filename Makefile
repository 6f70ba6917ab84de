# `make run` and `make test` do all their set-up on a bare Debian machine with Python 3.11.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := services libs tests bench scripts clients
.DEFAULT_GOAL := help

# Every target is a command, and no target is a file.
.PHONY: $(shell awk -F: '/^[a-z-]+:/ {print $$1}' $(MAKEFILE_LIST))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml scripts/set-up
	@PYTHON=$(PYTHON) VENV=$(VENV) bash scripts/set-up
	@touch $@

peers: ## Install the servers that the tests talk to, from Debian packages
	@bash scripts/install-peers

run: $(STAMP) ## Run the suite on loopback, with its data in ./var
	@$(BIN)/posthouse up

demo: $(STAMP) ## Send mail through a throw-away suite and show what becomes of each message
	@$(BIN)/posthouse demo

test: $(STAMP) peers ## Run all tests; first installs the test servers that are missing
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-long: $(STAMP) peers ## Run the tests that take minutes: the commands of the documentation, whole jobs, outages and kills
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests/docs tests/e2e/long

check: lint types imports stubs-check openapi-check openapi-compatible migrations-check cases-check links-check lines-check ## Run every check but the tests: lint, types, import rules, generated files, migrations, cases, lines of code

lint: $(STAMP) ## Check style and format with ruff
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

format: $(STAMP) ## Mend style and format with ruff
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

types: $(STAMP) ## Check the types with mypy
	@$(BIN)/mypy

imports: $(STAMP) ## Check the import rules of ARCHITECTURE.md
	@$(BIN)/lint-imports

stubs: $(STAMP) ## Generate the stubs of the gRPC contracts
	@$(BIN)/python scripts/generate_stubs.py proto

stubs-check: $(STAMP) ## Fail when the committed stubs are not those of the contracts
	@$(BIN)/python scripts/generate_stubs.py --check proto

openapi: $(STAMP) ## Generate openapi.json, docs/api-errors.md and the Python client
	@$(BIN)/python -m services.config_api openapi > openapi.json
	@$(BIN)/python scripts/error_catalogue.py
	@$(BIN)/python scripts/generate_client.py

openapi-check: $(STAMP) ## Fail when the committed openapi.json or the Python client is not that of the code
	@$(BIN)/python -m services.config_api openapi | diff -u openapi.json - || { echo "openapi.json is stale: make openapi"; exit 1; }
	@$(BIN)/python scripts/generate_client.py --check

openapi-lint: ## Fail on any warning of spectral or redocly about openapi.json
	@bash scripts/check-openapi

openapi-compatible: $(STAMP) ## Fail when openapi.json would break a client of the newest release
	@$(BIN)/python scripts/openapi_compatible.py

migrations-check: $(STAMP) ## Fail when the migrations of a database do not form one line
	@PYTHONPATH=.:proto $(BIN)/python scripts/migrations.py

cases: $(STAMP) ## Sort docs/cases.md and follow tests that moved
	@$(BIN)/python scripts/cases.py --fix

cases-check: $(STAMP) ## Fail when a cited case has no line in docs/cases.md, or a line has no test
	@$(BIN)/python scripts/cases.py

lines: $(STAMP) ## Count the lines of code of each service, without comments, docstrings and imports
	@$(BIN)/python scripts/code_lines.py services libs

lines-check: $(STAMP) ## Fail when a service has more lines of code than scripts/code_lines.json allows
	@$(BIN)/python scripts/code_lines.py --check

links-check: $(STAMP) ## Fail when a document names a file or a page that does not exist
	@$(BIN)/python scripts/links.py

reference: $(STAMP) ## Write the generated pages of docs/reference
	@PYTHONPATH=. $(BIN)/python scripts/reference.py

stills: $(STAMP) peers ## Make the pictures of the command line for README and docs anew, from a suite that runs here
	@PYTHONPATH=.:proto:clients/python $(BIN)/python scripts/stills.py

docs: $(STAMP) ## Build the documentation as a site, in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs-check: $(STAMP) ## Fail when a generated page is stale, or the site does not build without a warning
	@PYTHONPATH=. $(BIN)/python scripts/reference.py --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir $$(mktemp -d)

console-check: $(STAMP) peers ## Look at every page of the console in Chromium with axe-core, and do whole jobs in it
	@bash scripts/console-check

screenshots: $(STAMP) peers ## Make the pictures of the console in docs/pictures, in Chromium
	@PYTHONPATH=. $(BIN)/python scripts/screenshots.py

clients: $(STAMP) ## Generate and compile API clients in four languages, and do a real job with each
	@bash scripts/check-clients

bench: $(STAMP) peers ## Compare with real mail servers on this machine (12 to 25 minutes)
	@$(BIN)/python -m bench

guard: $(STAMP) ## Fail when a service uses twice the CPU time a message that bench/guard.json says
	@$(BIN)/python -m bench.guard

fuzz: $(STAMP) ## Try random sessions and values for ten minutes and show what breaks
	@$(BIN)/python -m tests.fuzz

torture: $(STAMP) peers ## Kill relay at every point of its work, many times
	@$(BIN)/python -m pytest tests/relay/test_crash.py tests/e2e/long/test_torture.py --torture -s

replicas: $(STAMP) peers ## End every replica under load, for a minute
	@POSTHOUSE_REPLICAS_SECONDS=60 $(BIN)/python -m pytest tests/e2e/long/test_replicas.py -s --timeout 900

containers: $(STAMP) ## Build the image and try it and the compose files in real containers, with podman
	@bash scripts/install-containers
	@$(BIN)/python -m pytest tests/containers --timeout 1800 --durations 12

lock: $(STAMP) ## Choose new versions of all dependencies and write requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --universal --upgrade -o requirements.lock

clean: ## Remove the virtual environment and the caches of the tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
