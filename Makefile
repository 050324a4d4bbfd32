# Everything sets itself up in .venv: a suitable Python and the package index are all it needs.
# Set-up happens once, and again only when pyproject.toml or a lock file changes.

VENV := .venv
PY := $(VENV)/bin/python
RUN := $(VENV)/.ready-run
DEV := $(VENV)/.ready-dev
PROMPT := Once upon a time
TESTS :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test examples lint types imports check bench lock clean

help:  ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(RUN)  ## stream a tale from the shipped checkpoint on a simulated WSE-2
	@$(VENV)/bin/waferllm generate "$(PROMPT)" --chip wse2 --mesh 8x8

setup: $(DEV)  ## install everything that tests and checks need

test: $(DEV)  ## the default tests (TESTS="-k ring" chooses)
	@$(PY) -m pytest -q $(TESTS)

examples: $(RUN)  ## run every example
	@for file in examples/[0-9]*.py; do echo "== $$file"; $(PY) "$$file" || exit 1; done

lint: $(DEV)  ## style
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(DEV)  ## types
	@$(VENV)/bin/pyright --pythonpath $(PY)

imports: $(DEV)  ## the layers of ARCHITECTURE.md
	@$(VENV)/bin/lint-imports

check:  ## all that CI runs
	@.ci/run

bench: $(DEV)  ## benchmarks, beside a peer where one is installed
	@$(PY) -m benchmarks

lock:  ## write the lock files anew (needs uv)
	@tools/lock

clean:  ## remove what was set up and built
	rm -rf $(VENV) build dist .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): requirements.lock pyproject.toml tools/setup
	@tools/setup $(VENV) requirements.lock
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml tools/setup
	@tools/setup $(VENV) requirements-dev.lock
	@touch $(RUN) $@
