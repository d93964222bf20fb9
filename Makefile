# Every target sets up what it needs: a virtual environment in .venv with everything in it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE_STAMP := client/node/node_modules/.installed
PIP_FLAGS ?= -q
COMPILED := server/stillroom_server/inference/compiled

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

install: $(STAMP)  ## make .venv with everything in it, the command stillroom included

$(STAMP): pyproject.toml setup.py constraints.txt $(wildcard $(COMPILED)/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_FLAGS) -c constraints.txt torch==2.13.0
	$(BIN)/pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	touch $@

$(NODE_STAMP): $(STAMP) client/node/package-lock.json
	cd client/node && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund
	touch $@

demo: $(STAMP)  ## the main job on real input: import, distill, embed, compare
	$(BIN)/python -m benchmarks.demo

serve: $(STAMP)  ## start a server that keeps its models in the user's data folder
	$(BIN)/stillroom serve

test: $(STAMP) lint $(NODE_STAMP)  ## lint, type-check and run the tests
	$(BIN)/pytest

test-fast: $(STAMP)  ## the tests without the slow ones
	$(BIN)/pytest -m 'not slow'

# One part alone: make test-faults FAULTS=tests/faults/test_hostile.py FUZZ=100000
KILLS ?= 100
FUZZ ?= 1000000
SOAK_TEXTS ?= 5000000
STEPS ?= 10000
FAULTS ?= tests/faults tests/registry tests/operations

test-faults: $(STAMP)  ## all of the kills and fuzz cases (KILLS, FUZZ, SOAK_TEXTS, STEPS: how many)
	STILLROOM_KILLS=$(KILLS) STILLROOM_FUZZ=$(FUZZ) STILLROOM_SOAK_TEXTS=$(SOAK_TEXTS) \
		STILLROOM_STEPS=$(STEPS) $(BIN)/pytest --hypothesis-profile search $(FAULTS)

lint: $(STAMP)  ## ruff, mypy --strict, buf
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p benchmarks
	$(BIN)/buf lint
	$(BIN)/buf breaking protos --against protos/baseline.binpb

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## every figure of the README (STILLROOM_BENCH_DATA names the data)
	$(BIN)/python -m benchmarks

bench-distill: $(STAMP)  ## the figures of distillation alone; a transformer takes most of an hour
	$(BIN)/python -m benchmarks quality distill tuned durable shallow $(BENCH_FLAGS)

bench-embed: $(STAMP)  ## the figures of serving alone (BENCH_FLAGS: see python -m benchmarks -h)
	$(BIN)/python -m benchmarks stream teacher saturated ready memory overload peer $(BENCH_FLAGS)

bench-classify: $(STAMP)  ## the figures of classifiers alone
	$(BIN)/python -m benchmarks classify $(BENCH_FLAGS)

bench-estimate: $(STAMP)  ## estimates against what the work then took (BENCH_FLAGS='--jobs 2': more)
	$(BIN)/python -m benchmarks estimate $(BENCH_FLAGS)

bench-registry: $(STAMP)  ## the figures of the registry alone
	$(BIN)/python -m benchmarks registry $(BENCH_FLAGS)

protos: $(STAMP)  ## generate the Python code of the protos
	$(BIN)/python protos/generate.py

baseline: $(STAMP)  ## accept a breaking change of the protocol (say so in the CHANGELOG)
	$(BIN)/buf build protos --exclude-source-info -o protos/baseline.binpb

clean:  ## remove what the targets made
	rm -rf $(VENV) client/node/node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help install demo serve test test-fast test-faults lint format bench bench-distill bench-embed bench-classify bench-estimate bench-registry protos baseline clean
