# Everything a developer does here. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Without bytecode each of Airflow's processes compiles all that it imports. What none of them imports, or few modules
# of, is left out: half of the time.
LATER := antlr4|cfnlint|docker|graphql|hypothesis|libcst|moto|mpmath|mypy|mypyc|networkx|pip|playwright|pyathena
LATER := $(LATER)|pygments|redshift_connector|sagemaker_studio|setuptools|sympy|tests
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
export ONCE KEEP STORE
PEERS := $(VENV)/.peers
APPLICATIONS := $(VENV)/.applications
DOCS := $(VENV)/.docs

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-more test-long matrix mutants soak applications planned corpus screenshots docs fields bench lint format check constraints clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make .venv, with everything pinned by constraints.txt

demo: $(READY) ## back up and restore a sample application; ONCE=1: then exit; KEEP=1: keep .demo; STORE=vault
	@$(BIN)/python -m demo

PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: $(READY) ## run the tests; TESTS=path (all of it, the long ones, too) and OPTIONS=... narrow them down
	@$(PYTEST) $(if $(TESTS),-m "not browser") $(OPTIONS) $(TESTS)

test-more: $(READY) ## run all tests but the long ones: what .ci/run runs
	@$(PYTEST) -m "not browser and not slow" $(OPTIONS)

test-long: $(READY) ## run the tests that `make test` leaves out: kills, walks, every version of PostgreSQL
	@$(PYTEST) -m "slow and not browser" --ignore tests/foreign --ignore tests/integration/test_verified_million.py $(OPTIONS)

mutants: $(READY) ## break the product in some hundred and seventy ways, each of which a test has to notice; MUTANTS=checksum JOBS=2
	@$(BIN)/python -m tests.mutants $(if $(MUTANTS),--only "$(MUTANTS)") $(if $(JOBS),--jobs $(JOBS))

matrix: $(READY) ## try versions of Airflow and Python, each in an environment of its own; CELLS=3.2.2,3.11 SMALL=1
	@$(BIN)/python -m tests.matrix $(if $(CELLS),--cells "$(CELLS)") $(if $(SMALL),--small)

soak: $(READY) ## long random runs against a model on both stores; STEPS=20000 SOAK_STORE=s3 SEED=1; KILLS=all: deaths
	@$(BIN)/python -m tests.faults.soak --store $(or $(SOAK_STORE),both) --seed $(or $(SEED),1) \
	  $(if $(KILLS),--kills $(KILLS),--steps $(or $(STEPS),20000)) $(if $(JOBS),--jobs $(JOBS)) $(if $(LEAVE),--leave $(LEAVE))

planned: $(READY) ## restore any databases at random and compare with the plan; EXAMPLES=100 SEED=1 OPTIONS=...
	@PLANNED_EXAMPLES=$(or $(EXAMPLES),100) PLANNED_SEED=$(or $(SEED),1) PLANNED_SHRINK=1 \
		$(BIN)/python -m pytest -q -m "" $(OPTIONS) tests/integration/postgres/test_as_planned.py

corpus: $(READY) ## restore PostgreSQL's own regression database in every way; VERSIONS=15,18 WAYS=new,itself,swap
	@$(BIN)/python -m tests.corpus $(if $(VERSIONS),--versions $(VERSIONS)) $(if $(WAYS),--ways $(WAYS))

applications: $(APPLICATIONS) ## back up and restore sites made with Wagtail and django-filer, through their own code
	@$(BIN)/python -m pytest -n 2 -m slow $(OPTIONS) tests/foreign

screenshots: $(READY) ## take the pictures of the documents from a running Airflow; needs Chromium
	@$(BIN)/python -m tests.e2e.screenshots docs/images

docs: $(DOCS) ## make the documentation site in build/docs, with pages from docstrings, parsers and models
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/python -W ignore -m mkdocs build --quiet
	@echo "The documentation is in build/docs/index.html."

fields: $(READY) ## write anew what is made from the fields of applications.yaml: JSON Schema, guide, example
	@$(BIN)/python -m tests.support.fields

bench: $(PEERS) ## measure against other tools; CASES=t05,t10 ROUNDS=3 SCALE=0.1 DATA=directory
	@$(BIN)/python -m bench $(if $(CASES),--cases $(CASES)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(SCALE),--scale $(SCALE)) $(if $(DATA),--data $(DATA))

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## let ruff format the sources
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

check: lint test ## lint and test

# One set of versions that serves Python 3.11 to 3.13, with what builds the package.
constraints: $(READY) ## pin the newest versions in constraints.txt
	@printf '%s\n' hatchling editables uv > $(VENV)/tools.in
	@$(BIN)/uv pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 \
	  --extra dev --extra bench --extra applications --extra docs --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  pyproject.toml $(VENV)/tools.in | sed 's/ *;.*//' | LC_ALL=C sort -u > $(VENV)/constraints.txt
	@mv $(VENV)/constraints.txt constraints.txt

clean: ## remove .venv, .demo and caches
	rm -rf $(VENV) .demo .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamp comes last: what was interrupted is done again. A change of pins or dependencies installs anew.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is `$(PYTHON) --version 2>&1`. Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); } || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu the package python3-venv is missing." >&2; \
	  rm -rf $(VENV); exit 1; }
	@echo "Installing into $(VENV) ..."
	@test -w "$$HOME" || export UV_CACHE_DIR="$(CURDIR)/.cache/uv" PIP_NO_CACHE_DIR=1; \
	if $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv && \
	  $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -b constraints.txt -e '.[dev]'; then :; else \
	  echo "uv could not do it; pip tries ..." >&2; \
	  PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'; fi
	@$(BIN)/python -m compileall -qq -j0 -x '/($(LATER))/' $(VENV)/lib/python*/site-packages || true
	@touch $@

# The tools that `make bench` compares with (restic is not among them: it is a package of the system), what the sites are
# made with whose backups are tried, and what makes the documentation.
$(PEERS): EXTRA := bench
$(APPLICATIONS): EXTRA := applications
$(DOCS): EXTRA := docs
$(PEERS) $(APPLICATIONS) $(DOCS): $(READY)
	@echo "Installing the extra $(EXTRA) into $(VENV) ..."
	@test -w "$$HOME" || export UV_CACHE_DIR="$(CURDIR)/.cache/uv" PIP_NO_CACHE_DIR=1; \
	if $(BIN)/uv --version >/dev/null 2>&1 && \
	  $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -b constraints.txt -e '.[$(EXTRA)]'; then :; else \
	  PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[$(EXTRA)]'; fi
	@touch $@
