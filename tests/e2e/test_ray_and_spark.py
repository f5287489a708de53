"""The examples of Ray and Spark, on this machine: `make test-release` has their environments."""

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import polyhead

ROOT = Path(__file__).parents[2]
TEXTS = [f"where is my {noun} {n} ?" for n in range(50) for noun in ("lamp", "kettle", "phone")]
PATIENCE_S = 900


def python_of(name):
    """The interpreter of an environment that has the framework."""
    path = os.environ.get(f"POLYHEAD_{name}")
    if path is None:
        pytest.skip(f"POLYHEAD_{name} names no interpreter with it; 'make test-release' does")
    return path


def run(name, script, *words, **environment):
    return subprocess.run(
        [python_of(name), ROOT / "examples" / script, *words],
        env=surroundings(**environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def surroundings(**more):
    """What both frameworks start their processes with, too."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "runtime" / "src"), **more}


@pytest.fixture
def rows(tmp_path):
    """A folder of two files."""
    folder = tmp_path / "rows"
    folder.mkdir()
    half = len(TEXTS) // 2
    for number, texts in enumerate((TEXTS[:half], [*TEXTS[half:], None])):
        ids = [number * half + n for n in range(len(texts))]
        parquet.write_table(pa.table({"id": ids, "text": texts}), folder / f"{number}.parquet")
    return folder


def check(folder, committed):
    """Every row once, with the answers of the engine."""
    found = sorted(parquet.read_table(folder).to_pylist(), key=lambda row: row["id"])
    assert [row["id"] for row in found] == [*range(len(TEXTS) + 1)]
    *answered, bad = found
    assert "None" in bad["error"]
    assert bad["topic"] is None
    with polyhead.load(committed, threads=1) as engine:
        expected = engine.predict(TEXTS)
    for row, prediction in zip(answered, expected, strict=True):
        assert row["error"] is None
        assert row["topic"] == prediction["topic"].label
        assert row["topic_score"] == np.float32(prediction["topic"].score)
        vector = np.float32(row["embedding"])
        np.testing.assert_array_equal(vector, prediction["embedding"].vector)
        spans = [(s["label"], s["start"], s["end"]) for s in row["entities"]]
        assert spans == [(s.label, s.start, s.end) for s in prediction["entities"].spans]


def test_ray_data_answers_every_row(rows, committed, tmp_path):
    done = run("RAY", "ray/batch.py", committed, rows, tmp_path / "answers", RAY_DEDUP_LOGS="0")
    assert done.returncode == 0, done.stderr
    check(tmp_path / "answers", committed)


def test_ray_data_goes_on_from_its_checkpoint(rows, committed, tmp_path):
    """The second run passes over the rows that the first, of one file, has written."""
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(rows / "0.parquet", first)
    words = [committed, tmp_path / "answers", "--checkpoint", tmp_path / "checkpoint"]
    code = (ROOT / "examples" / "ray" / "batch.py").read_text()
    assert "CheckpointConfig(" in code
    kept = tmp_path / "batch.py"
    kept.write_text(
        code.replace('id_column="id",', 'id_column="id", delete_checkpoint_on_success=False,')
    )
    for source in (first, rows):
        done = subprocess.run(
            [python_of("RAY"), kept, words[0], source, *words[1:]],
            env=surroundings(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    check(tmp_path / "answers", committed)


def test_ray_serve(committed, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'examples' / 'ray')!r})\n"
        "from ray import serve\n"
        f"serve.start(http_options={{'host': '127.0.0.1', 'port': {port}}})\n"
        "import service\n"
        "serve.run(service.app)\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush()\n"
        "sys.stdin.read()\n"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [python_of("RAY"), "-c", code],
            env=surroundings(BUNDLE=str(committed), REPLICAS="1"),
            cwd=ROOT / "examples" / "ray",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        while "ready" not in (line := process.stdout.readline()):
            assert line, (tmp_path / "log").read_text()
        with polyhead.load(committed, threads=1) as engine:
            expected = json.loads(json.dumps(engine("thanks", heads=["topic"]).to_dict()))
        assert ask(port, {"text": "thanks", "heads": ["topic"]}) == (200, expected)
        status, told = ask(port, {"text": 7})
        assert (status, told["error"]) == (422, "InvalidText")
    finally:
        process.communicate("", timeout=PATIENCE_S)


def ask(port, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, json.load(problem)


def test_spark_answers_every_row(rows, committed, tmp_path):
    if shutil.which("java") is None:
        pytest.skip("Spark needs java, such as Debian's openjdk-17-jre-headless")
    done = run(
        "SPARK",
        "spark/batch.py",
        committed,
        rows,
        tmp_path / "answers",
        SPARK_LOCAL_IP="127.0.0.1",
        PYSPARK_PYTHON=python_of("SPARK"),
    )
    assert done.returncode == 0, done.stderr
    check(tmp_path / "answers", committed)
