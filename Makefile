# Both need nothing but git, make, Python >= 3.11 and pip.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1

demo: .venv/ready  ## train, export, verify and measure a model with four heads
	$(BIN)/polyhead demo -o build/demo

test: .venv/ready  ## the whole test suite, offline
	$(BIN)/python -m pytest

fuzz: .venv/ready  ## load and predict with 20,000 inputs; INPUTS=… SEED=…
	INPUTS=$(or $(INPUTS),20000) SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/fuzz

lint: .venv/ready  ## what CI asks of every change
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: demo  ## the demo bundle against PyTorch, more rounds
	$(BIN)/polyhead bench latency build/demo/bundle --against build/demo/checkpoint --texts build/demo/data/test.jsonl --rounds 15

.venv/ready: constraints.txt pyproject.toml runtime/pyproject.toml models/pyproject.toml export/pyproject.toml benchmarks/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt ".[dev]"
	$(BIN)/pip install --no-deps -e runtime -e models -e export -e benchmarks
	touch $@

.PHONY: demo test fuzz lint bench
