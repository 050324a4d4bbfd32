# Everything sets itself up in .venv: a suitable Python and the package index are all it needs.
# Set-up happens once, and again only when pyproject.toml or a lock file changes.

VENV := .venv
PY := $(VENV)/bin/python
RUN := $(VENV)/.ready-run
DEV := $(VENV)/.ready-dev
PROMPT := Once upon a time
TESTS :=
# JAX keeps what it compiled for the demo beside the rest of the set-up: from the second run on it starts faster.
CACHE := JAX_COMPILATION_CACHE_DIR=$(abspath $(VENV))/jax-cache JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0

.DEFAULT_GOAL := help
.PHONY: help setup demo test examples lint types imports check bench lock clean

help:  ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(RUN)  ## stream a tale from the shipped checkpoint on a simulated WSE-2
	@$(CACHE) $(VENV)/bin/waferllm generate "$(PROMPT)" --chip wse2 --mesh 8x8

setup: $(DEV)  ## install everything that tests and checks need

test: $(DEV)  ## the default tests (TESTS="-k ring" chooses)
	@$(PY) -m pytest -q -n 2 $(TESTS)

examples: $(RUN)  ## run every example, and the README's
	@for file in examples/[0-9]*.py tools/readme.py; do echo "== $$file"; $(PY) "$$file" || exit 1; done

lint: $(DEV)  ## style
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(DEV)  ## types
	@$(VENV)/bin/pyright --pythonpath $(PY)

imports: $(DEV)  ## the layers of ARCHITECTURE.md
	@$(VENV)/bin/lint-imports

check:  ## all that CI runs
	@.ci/run

bench: $(DEV)  ## benchmarks beside their peers (benchmarks/billion.py: by hand, minutes)
	@$(PY) benchmarks/gemm.py
	@$(PY) benchmarks/startup.py
	@if $(PY) -c "import transformers" 2>/dev/null; then $(PY) benchmarks/decode.py; else \
	    echo "decode beside transformers: left out, transformers is not installed in $(VENV)"; fi

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
