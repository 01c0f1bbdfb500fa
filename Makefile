# `make` alone lists the targets.

VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
# More than a CI machine has cores: tests with processes of their own wait more than they compute.
JOBS   ?= 3
PYTEST  = $(PY) -m pytest
ARGS   ?=

# Keeps Dagster from sending usage data (dagster.yaml and [tool.dg.cli] switch it off too).
export DAGSTER_DISABLE_TELEMETRY := yes
# PYTHON=/path/to/python picks the interpreter for .venv.
export PYTHON
# Programs must see this checkout's environment and no other.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo dev test check lint bench pictures soak lock clean distclean FORCE

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP) ## Run the demonstration (DAYS=365 for a whole year)
	$(VENV)/bin/selfheal demo $(if $(DAYS),--days $(DAYS)) $(ARGS)

dev: $(STAMP) ## Start Dagster's web interface and daemon on this project
	$(VENV)/bin/selfheal dev $(ARGS)

test: $(STAMP) lint ## Everything CI runs: lint, types, imports, the whole test suite
	$(PYTEST) -n $(JOBS) --dist loadfile $(ARGS)

check: $(STAMP) lint ## The quick part: lint, types, imports, unit and property tests
	$(PYTEST) -n $(JOBS) --dist loadfile tests/unit tests/properties $(ARGS)

lint: $(STAMP) ## Lint, formatting, types, import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(STAMP) ## Run the benchmarks
	$(PY) -m benchmarks $(ARGS)

pictures: $(STAMP) ## Take the pictures in docs/pictures anew (needs Chromium)
	SELFHEAL_PICTURES=1 SELFHEAL_REQUIRE_ALL=1 $(PYTEST) tests/browser $(ARGS)

# Without SEED every soak draws its own; it is printed, to repeat the run with.
soak: SEED := $(or $(SEED),$(shell date +%s))
soak: $(STAMP) ## All tests, with many more random examples (SEED=... repeats a run)
	@echo "soak seed: $(SEED)"
	HYPOTHESIS_PROFILE=soak SELFHEAL_SEED=$(SEED) SELFHEAL_KILL_SCHEDULES=$(or $(SCHEDULES),1000) $(PYTEST) -n $(JOBS) --dist loadfile \
	  -m "soak or not soak" --timeout 3600 --hypothesis-seed=$(SEED) $(ARGS)

lock: ## Renew constraints.txt with the newest versions pyproject.toml allows
	deploy/lock.sh

clean: ## Remove caches and build products
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## clean, and remove .venv and .bench
	rm -rf $(VENV) .venv.lock .bench

# .venv is up to date when its stamp is newer than these two files, and good when deploy/venv.sh says that it
# works and belongs to the Python it was made with. Looked at only when a target needs it.
ifneq ($(filter-out help lock clean distclean,$(MAKECMDGOALS)),)
VENV_GOOD := $(shell deploy/venv.sh --check && echo yes)
endif

$(STAMP): constraints.txt pyproject.toml $(if $(VENV_GOOD),,FORCE)
	@deploy/venv.sh

FORCE:
