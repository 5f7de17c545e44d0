# Starts from a bare checkout; needs Python 3.11 or newer (with venv and pip), make and git.

UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' .ci/requirements-uv.txt)
AIRFLOW_3  := 3.3.2
AIRFLOW_2  := 2.11.2

# The first Python on PATH that runs and lies between 3.11 and 3.$(1).
find-python = $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $(1)))' 2>/dev/null \
	&& command -v $$p && break; done)
PYTHON   := $(call find-python,14)
PYTHON_2 := $(call find-python,12)
# One of the foreign clients is for Python 3.12 and newer.
PYTHON_F := $(shell for p in python3.14 python3.13 python3.12 python3; do \
	$$p -c pass 2>/dev/null && command -v $$p && break; done)
ifeq ($(PYTHON),)
$(error No Python from 3.11 to 3.14 on PATH)
endif

UV     := .uv/bin/uv-$(UV_VERSION)
# As many tests side by side as there are processors, and one more, as some only wait.
JOBS   := $(shell expr 1 + `nproc 2>/dev/null || getconf _NPROCESSORS_ONLN`)
PARALLEL := -n $(JOBS) --maxschedchunk 1
# What lies below these knows no Airflow, so it is tested once: both versions are pinned with the same HTTP libraries.
# But each Airflow brings another SQLAlchemy for the records.
# Journeys are about what becomes of the remote systems, whatever Airflow it is.
WITH_AIRFLOW := $(addprefix tests/,commands docs example_dags hooks links notifications operators \
	records/test_contract.py secrets sensors tasks testing triggers ui)
VENV   := .venv
VENV_2 := .venv-2.11
VENV_B := .venv-bench
VENV_C := .venv-cluster
VENV_D := .venv-docs
VENV_F := .venv-foreign
VENV_U := .venv-ui
SITE   := docs/_build/html
READY   := $(VENV)/.ready
READY_2 := $(if $(PYTHON_2),$(VENV_2)/.ready)

# Where it is set, every Airflow process compiles all of Airflow anew.
unexport PYTHONDONTWRITEBYTECODE
# Airflow's files stay in the checkout, one folder for each version: their databases differ.
export AIRFLOW_HOME = $(CURDIR)/.airflow/$(RUN)
export AIRFLOW__CORE__LOAD_EXAMPLES := False
export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED := False
RUN := 3.3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help test lint test-3.3 test-2.11 test-e2e test-ui test-cluster test-foreign test-matrix test-oauth demo docs \
	bench reference lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: lint test-3.3 test-2.11 ## Lint, then run the tests on Airflow 3.3 and on Airflow 2.11

lint: $(READY) ## Check style, formatting and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

test-3.3: $(READY) ## Run all tests on Airflow 3.3; with COVERAGE=1, fail when less is covered than was
	$(VENV)/bin/pytest $(PARALLEL) $(if $(COVERAGE),--cov --cov-report=)

test-2.11: RUN := 2.11
test-2.11: $(READY_2) ## Run all tests of what uses Airflow on Airflow 2.11
ifdef PYTHON_2
	$(VENV_2)/bin/pytest $(PARALLEL) $(WITH_AIRFLOW)
else
	@echo "SKIPPED: the tests on Airflow 2.11 need Python 3.11 or 3.12, and PATH has neither."
endif

test-e2e: $(READY) $(READY_2) ## Run tests under Airflow's own services, in two minutes
	E2E=1 $(VENV)/bin/pytest tests/e2e

test-cluster: $(VENV_C)/.ready ## Kill parts of a cluster with Celery, Redis and PostgreSQL, in seven minutes
	CLUSTER=1 $(VENV_C)/bin/pytest tests/cluster

test-oauth: $(READY) ## Renew OAuth tokens in eight processes, with kill -9 at each step, in half an hour
	OAUTH=1 $(VENV)/bin/pytest -q tests/oauth

test-matrix: $(READY) ## Test on every Airflow and Python on PATH, in an hour; ONLY="3.2-3.13 lowest-3.11" are some
	$(VENV)/bin/python tests/matrix/run.py --uv $(UV) --jobs $(JOBS) --folders $(WITH_AIRFLOW) $(if $(ONLY),--only $(ONLY))
	$(VENV)/bin/python docs/make_compatibility.py

test-foreign: $(VENV_F)/.ready ## Run clients that nobody here wrote against the simulator, in ten seconds, with no Airflow
	PYTHONPATH=. $(VENV_F)/bin/pytest --confcutdir tests/foreign_clients tests/foreign_clients

test-ui: $(VENV_U)/.ready ## Drive the forms and the page in Debian's Chromium; SCREENSHOTS=1 writes docs/images anew
ifeq ($(and $(shell command -v chromium),$(shell command -v chromedriver)),)
	@echo "SKIPPED: the tests of the UI need chromium and chromedriver on PATH (Debian: chromium, chromium-driver)."
else
	BROWSER=1 $(VENV_U)/bin/pytest tests/browser
endif

demo: RUN := demo
demo: $(READY) ## Run example Dags against the simulator, no account needed: two minutes, and 0.5 GB for Airflow
	$(VENV)/bin/python example_dags/demo.py

docs: $(VENV_D)/.ready ## Build the documentation as a site of static files; any warning is an error
	$(VENV_D)/bin/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --doctree-dir docs/_build/doctrees docs $(SITE)
	@echo "Open $(SITE)/index.html, or serve the folder: $(VENV_D)/bin/python -m http.server --directory $(SITE)"

bench: $(VENV_B)/.ready ## Compare with other clients, and measure many hosts, in 50 minutes; BENCH="--quick" takes three
	$(VENV_B)/bin/python -m benchmarks.run $(BENCH)

reference: $(READY) ## Write docs/reference.md, the list of public names, from the code
	$(VENV)/bin/python docs/make_reference.py

lock: $(UV) ## Pin the environments again, with hashes; with UPGRADE=1 to the newest releases
	echo uv | $(call compile,uv)
	$(call pin,airflow-3.3,$(AIRFLOW_3))
	$(call pin,airflow-2.11,$(AIRFLOW_2))
	$(call pin,airflow-3.0,3.0.6,.ci/requirements-airflow-3.0.in)
	$(call pin,airflow-3.1,3.1.8,.ci/requirements-airflow-3.1.in)
	$(call pin,airflow-3.2,3.2.2,.ci/requirements-airflow-3.2.in)
	$(UV) pip compile --quiet --python-version 3.11 --resolution lowest-direct --extra redis --extra simulator \
		pyproject.toml -c .ci/requirements-airflow-lowest.in | $(call compile,airflow-lowest,--no-universal .ci/requirements.in)
	$(call pin,bench,$(AIRFLOW_3),.ci/requirements-bench.in -c .ci/requirements-airflow-3.3.txt)
	cat .ci/requirements-foreign.in | $(call compile,foreign)
	$(call pin,docs,$(AIRFLOW_3),.ci/requirements-docs.in -c .ci/requirements-airflow-3.3.txt)
	$(call pin,ui,$(AIRFLOW_3),.ci/requirements-ui.in -c .ci/requirements-airflow-3.3.txt)
	$(call pin,cluster,$(AIRFLOW_3),.ci/requirements-cluster.in -c .ci/requirements-airflow-3.3.txt)

clean: ## Remove all that make has made
	rm -rf .airflow .matrix .uv $(VENV) $(VENV_2) $(VENV_B) $(VENV_C) $(VENV_D) $(VENV_F) $(VENV_U) docs/_build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache

define compile
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
		$(2) - -o .ci/requirements-$(1).txt
endef

define pin
	echo apache-airflow==$(2) | $(call compile,$(1),--extra simulator pyproject.toml .ci/requirements.in $(3))
endef

# Airflow as pinned, then this package from the checkout; `check` tells when the pins no longer suit pyproject.toml.
define install
	test -x $(@D)/bin/python || $(1) -m venv --without-pip $(@D)
	$(UV) pip sync --quiet --require-hashes --python $(@D)/bin/python --compile-bytecode $(2)
	$(UV) pip install --quiet --python $(@D)/bin/python --no-deps --no-build-isolation -e '.[simulator]'
	$(UV) pip check --quiet --python $(@D)/bin/python
	touch $@
endef

$(VENV)/.ready: .ci/requirements-airflow-3.3.txt pyproject.toml | $(UV)
	$(call install,$(PYTHON),$<)

$(VENV_2)/.ready: .ci/requirements-airflow-2.11.txt pyproject.toml | $(UV)
	$(call install,$(PYTHON_2),$<)

# No Airflow, and not this package: its folder is on the path.
$(VENV_F)/.ready: .ci/requirements-foreign.txt | $(UV)
	test -x $(@D)/bin/python || $(PYTHON_F) -m venv --without-pip $(@D)
	$(UV) pip sync --quiet --require-hashes --python $(@D)/bin/python --compile-bytecode $<
	touch $@

$(VENV_B)/.ready: .ci/requirements-bench.txt pyproject.toml | $(UV)
	$(call install,$(PYTHON),$<)

$(VENV_C)/.ready: .ci/requirements-cluster.txt pyproject.toml | $(UV)
	$(call install,$(PYTHON),$<)

$(VENV_U)/.ready: .ci/requirements-ui.txt pyproject.toml | $(UV)
	$(call install,$(PYTHON),$<)

$(VENV_D)/.ready: .ci/requirements-docs.txt pyproject.toml | $(UV)
	$(call install,$(PYTHON),$<)

$(UV):
	$(PYTHON) -m venv --clear .uv
	.uv/bin/python -m pip install --quiet --require-hashes --no-deps -r .ci/requirements-uv.txt
	ln -s uv $@
