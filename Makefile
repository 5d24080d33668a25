# Thin shortcuts; the stages are in dvc.yaml, the numbers in params.yaml.
PYTHON ?= python3
ARGS ?=
# A container brings its environment and names it; nothing is installed then.
VENV ?= .venv
STAMP := $(if $(filter .venv,$(VENV)),.venv/.stamp)
# What tests, lint and types need besides.
DEV := $(if $(filter .venv,$(VENV)),.venv/.dev)
# What `make play` needs besides; a container has it or names another command.
PLAY := $(if $(filter .venv,$(VENV)),.venv/.play)
STAGES := collect ingest dataset train evaluate export
# The user's own Python makes the environment; the stages run the `python` that is first on the PATH.
.venv/.stamp .venv/.dev: PATH := $(PATH)
export PATH := $(abspath $(VENV))/bin:$(PATH)
# Only `dvc exp run` takes -S; it also records the run for `dvc exp show`.
DVC := dvc $(if $(filter -S% --set-param%,$(ARGS)),exp run,repro)

.DEFAULT_GOAL := help
.PHONY: help setup repro $(STAGES) pull release sweep show play tensorboard lint types test test-slow mutants check images engine bench bench-chain bench-inference bench-train bench-startup bench-guard bench-rehearsal bench-play bench-gpu bench-scale lock clean

help: ## print this help
	@grep -hE '^[a-z $$()A-Z-]+:.*##' $(MAKEFILE_LIST) | sed 's/$$(STAGES)/$(firstword $(STAGES)) … $(lastword $(STAGES))/' \
	| awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.venv/.stamp: requirements.in constraints.txt
	@tools/environment.sh $(PYTHON) .venv
	@touch $@

.venv/.dev: .venv/.stamp requirements-dev.in
	@tools/environment.sh $(PYTHON) .venv requirements-dev.in
	@touch $@

.venv/.play: .venv/.stamp pipeline/play/requirements.txt
	@pip install -q --no-deps -r pipeline/play/requirements.txt
	@touch $@

setup: $(DEV) ## make the environment in .venv, for the chain and the tests

repro: $(STAMP) ## run the whole chain; only what changed runs again
	$(DVC) $(ARGS)

$(STAGES): $(STAMP) ## run one stage and what it needs; ARGS="-S train.lr=3e-4" changes a parameter
	$(DVC) $(ARGS) $@

pull: $(STAMP) ## get data and results from the remote; `make repro` then runs nothing
	dvc pull --run-cache $(ARGS)

release: $(STAMP) ## give the committed results a version and push it: VERSION=v1.0.0
	python -m pipeline release $(VERSION) $(if $(shell git remote),--push)

sweep: $(STAMP) ## run every combination: ARGS="-S train.lr=1e-4,3e-4 -S policy.network=mlp,unet"
	python -m pipeline sweep $(ARGS)

show: $(STAMP) ## print the metrics of the last run
	dvc metrics show

play: $(PLAY) ## drag the object and watch the policy follow, on a page: ARGS="--trial 12"
	python -m pipeline play $(ARGS)

tensorboard: $(STAMP) ## watch training on http://localhost:6007
	tensorboard --logdir artifacts/train --port 6007

lint: $(DEV) ## check style
	ruff check . && ruff format --check . && lint-imports

types: $(DEV) ## check types
	mypy

test: $(DEV) $(PLAY) ## run the tests
	python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(DEV) ## run the slow tests and print how long each took and when it last ran; ARGS="-k fuzz"
	python -m pytest -q -m slow -p tools.slow_tests $(ARGS)

mutants: $(DEV) ## break a room's code on purpose and count what its tests notice: ROOM=pipeline/release
	python -m tools.mutants $(ROOM) $(ARGS)

check: lint types test ## lint, types and tests

images: docker/.env ## build the training image for this user (docs/containers.md)
	docker compose -f docker/compose.yaml build

docker/.env:
	printf 'HOST_UID=%s\nHOST_GID=%s\n' "$$(id -u)" "$$(id -g)" > $@

engine: $(STAMP) ## build TensorRT engines from artifacts/export for this machine's GPU, if there is one
	python -m pipeline.export.engines $(ARGS)

bench-inference: $(STAMP) ## measure every backend and network, and a served policy under load
	python -m pipeline bench inference && python -m pipeline bench serve

bench: $(STAMP) ## measure how much each part of the recipe contributes; ARGS="--epochs 5 --pens 200"
	python -m bench.ablation $(ARGS)

bench-chain: $(STAMP) ## measure where the time of `make repro` goes; ARGS=--skip-installation leaves that out
	python -m bench.chain $(ARGS)

bench-startup: $(STAMP) ## measure how long commands take when nothing has changed
	python -m bench.startup $(ARGS)

bench-guard: $(STAMP) ## measure how long checking and repairing a chunk takes
	python -m bench.guard $(ARGS)

bench-rehearsal: $(STAMP) ## measure how long computing whole motions ahead takes
	python -m bench.rehearsal $(ARGS)

bench-play: $(PLAY) ## measure how many frames a second the page of `make play` shows
	python -m bench.play $(ARGS)

bench-gpu: $(STAMP) ## measure everything that needs a GPU, in nine minutes; ARGS=--dry-run tries it on a CPU
	python -m bench.gpu $(ARGS)

bench-scale: $(STAMP) ## measure what each stage costs with the number of episodes; ARGS="--sizes 1000 10000"
	python -m bench.scale $(ARGS)

bench-train: $(STAMP) ## measure training speed; with bench/requirements.txt also LeRobot's
	python -m bench.train $(ARGS)

lock: ## pin the newest versions in constraints.txt (needs uv)
	uv pip compile requirements.in requirements-dev.in --universal --python-version 3.11 --no-annotate --no-header -q -U -o constraints.txt

clean: ## remove the environment and every result; DVC's cache stays
	rm -rf .venv artifacts .state
