# Two commands are enough: `make run` and `make test`. Both set up everything they need.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The CUDA lock where an NVIDIA driver is found; choose yourself with `make run LOCK=requirements.lock`.
LOCK   ?= $(if $(wildcard /proc/driver/nvidia/version),requirements-cuda.lock,requirements.lock)
# Where `make cluster` keeps its files: on a short path, for sockets are in it.
CLUSTER ?= .cache/cluster
STAMP  := $(VENV)/.installed-$(notdir $(basename $(LOCK)))

.PHONY: run test check setup bench bench-stats bench-verify bench-peers gpu published fuzz cluster cluster-stop cluster-kill format-lint-types-imports lint format types imports map lock clean help

help:            ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: setup       ## Train a small network on synthetic images; say what it cost and where the report is
	$(BIN)/wbcbench demo

test: setup      ## The whole test suite
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: format-lint-types-imports test   ## Everything CI looks at

format-lint-types-imports: setup format lint types imports

setup: $(STAMP)  ## The virtual environment alone

# Bytecode is made here: where PYTHONDONTWRITEBYTECODE is set, every process would make it anew.
$(STAMP): $(LOCK) pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "wbcbench needs Python 3.11, 3.12 or 3.13; $(PYTHON) is another. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q harness
	rm -f $(VENV)/.installed-*
	touch $@

bench: setup     ## Speed and error, as ratios measured side by side
	@for each in tests/benchmarks/bench_*.py; do \
	  case $$each in */bench_stats.py|*/bench_verify.py|*/bench_peers.py) continue;; esac; \
	  echo "== $$each"; $(BIN)/python $$each || exit 1; done

bench-stats: setup   ## Simulated studies of known truth through `compare`, a quarter of an hour
	$(BIN)/python tests/benchmarks/bench_stats.py --write

bench-verify: setup  ## Tamper with bundles; submit and verify honest studies; 45 quiet minutes
	$(BIN)/python tests/benchmarks/bench_verify.py --write
	$(BIN)/python tests/benchmarks/honest_bundles.py --write

bench-peers: setup   ## Beside zeus, CodeCarbon, carbontracker: installs them, 45 quiet minutes
	$(BIN)/python tests/benchmarks/bench_peers.py --write --check

gpu:             ## Once on a machine with an NVIDIA GPU: make gpu ARGS='--data FOLDER [--quick]'
	@$(PYTHON) experiments/gpu.py $(ARGS)

published: setup ## Make results/published.zip and reports/published again from the bundle's own evidence
	rm -rf .cache/published
	$(BIN)/python -m zipfile -e results/published.zip .cache/published
	$(BIN)/wbcbench submit published --results .cache/published/*/data/results \
	  --statement experiments/published.toml --no-pdf --out results/published.zip --force
	rm -rf .cache/published
	$(BIN)/python -m zipfile -e results/published.zip .cache/published
	find reports/published -type f ! -name REVIEW.md -delete
	cp -r .cache/published/*/data/reports/published reports/

fuzz: setup      ## Spoil 2,000 files that users bring, and see what each command makes of them
	$(BIN)/python tests/fuzz/fuzz.py

format:
	$(BIN)/ruff format --check harness tests experiments

lint:
	$(BIN)/ruff check harness tests experiments

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

cluster: setup   ## Start a real Slurm with two nodes and scripted GPUs (tests/fakes/slurm_cluster.py)
	@cd tests && ../$(BIN)/python -m fakes.slurm_cluster start ../$(CLUSTER)

cluster-stop:    ## End it, with all of its jobs
	@cd tests && ../$(BIN)/python -m fakes.slurm_cluster stop ../$(CLUSTER)

cluster-kill: setup  ## Kill twenty times what carries out a study on such a Slurm; an hour
	$(BIN)/python tests/cluster/kill.py $(ARGS)

map:             ## Write the map of rooms and the registry into harness/ARCHITECTURE.md
	$(BIN)/python tests/house_map.py

lock:            ## Renew both locks from pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --extra train --extra dev --extra kaggle --extra interactive --extra amd --extra slurm \
	  pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --extra train --extra dev --extra kaggle --extra interactive --extra amd --extra slurm --extra cuda \
	  -c requirements.lock pyproject.toml -o requirements-cuda.lock

clean:           ## Remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
