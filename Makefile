# `make` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
# Of programs that are made of the tests' parts.
TESTS_PYTHON := PYTHONPATH=$(CURDIR)/tests/support $(BIN)/python

.PHONY: help setup demo test lint check format lock bench-sessionize bench-validate bench-train bench-scale bench-quality bench-recommend fuzz chaos chaos-train chaos-recommend interleavings doctor gpu-check
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv with all that is needed
	@$(PYTHON) infra/bootstrap.py

demo: setup  ## a whole night on real purchases, on this machine
	@$(BIN)/hrnn demo

doctor: setup  ## what this machine has and lacks
	@$(BIN)/hrnn doctor

test: setup  ## every test, a cluster of processes included
	@$(TESTS_PYTHON) tests/support/java_archive.py
	@$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: setup  ## ruff, mypy, layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache > /dev/null

check: lint  ## the same, and unit tests: under a minute
	@$(BIN)/pytest -q -m "not slow and not cluster and not chaos" tests/schemas tests/hrnn tests/contract

format: setup  ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

lock: setup  ## write infra/locks/ anew from pyproject.toml
	@$(BIN)/python infra/lock.py

bench-sessionize: setup  ## sessionize beside polars at 10 M rows
	@$(TESTS_PYTHON) tests/benchmarks/bench_sessionize.py

bench-validate: setup  ## validate beside polars at 2 M and 10 M rows
	@$(TESTS_PYTHON) tests/benchmarks/bench_validate.py

fuzz: setup  ## 100,000 damaged CSV files, 10,000 schemas, 10,000 records, 10,000 configs and batch lines: nothing may crash, hang or get lost
	@$(TESTS_PYTHON) tests/fuzz/fuzz_validate.py --inputs 111000 --seed 0
	@$(TESTS_PYTHON) tests/fuzz/fuzz_records.py --inputs 10000 --seed 0
	@$(TESTS_PYTHON) tests/fuzz/fuzz_configs.py --inputs 10000 --seed 0

bench-train: setup  ## training steps beside a plain PyTorch loop
	@$(TESTS_PYTHON) tests/benchmarks/bench_train.py

bench-scale: setup  ## a hundred million mapped events; growth with items, units, lanes and ranks
	@$(TESTS_PYTHON) tests/benchmarks/bench_scale.py

gpu-check:  ## proofs, a whole training and speeds on this machine's GPUs; needs PyTorch and pytest, no Spark; writes gpu-report.json
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) tests/gpu/check.py

bench-recommend: setup  ## lists of 25 beside the plain way; `hrnn recommend` at a million lines
	@$(TESTS_PYTHON) tests/benchmarks/bench_recommend.py --spark

bench-quality: setup  ## aws-hrnn beside the baselines on real data: three seeds, five nights, two lags
	@$(TESTS_PYTHON) tests/benchmarks/bench_quality.py --seeds 0 1 2 --cuts 5 --lag-hours 0 3

chaos: setup  ## SIGKILL a night at random moments, and compare
	@$(TESTS_PYTHON) tests/chaos/kill_nights.py

chaos-train: setup  ## SIGKILL a training with a ranker at random moments, on S3, and compare
	@$(TESTS_PYTHON) tests/chaos/kill_ranked_training.py

chaos-recommend: setup  ## SIGKILL batch inference and segments at random moments, on one machine and a cluster
	@$(TESTS_PYTHON) tests/chaos/kill_batch_jobs.py

interleavings: setup  ## batch jobs that publish to one folder, in thousands of orders of their steps
	@$(BIN)/pytest -q -n logical --maxprocesses 2 --timeout 900 --schedules 1000 -k any_order tests/jobs/batch/test_interleavings.py
