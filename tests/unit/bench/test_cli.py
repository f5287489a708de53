import json
import subprocess
import sys

import pytest

from polyhead.bundle import read
from polyhead.cli.main import main

IMPORTED = """
import sys
from polyhead.cli.main import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"torch", "transformers", "onnx"} & sys.modules.keys()
    sys.stderr.write("imported:" + ",".join(sorted(heavy)))
"""


@pytest.fixture
def words(models):
    return ["bench", "latency", str(models.bundle), "--against", str(models.checkpoint)]


def test_latency_as_json(words, tmp_path, capfd):
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"body": "late"}\n{"body": "thanks"}\n{"body": "too many"}\n')
    more = ["--texts", str(texts), "--field", "body", "--limit", "2", "--rounds", "2"]
    assert main([*words, *more, "--threads", "1", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["texts"], found["rounds"], found["threads"]) == (2, 2, 1)
    assert [engine["engine"] for engine in found["engines"]] == ["polyhead", "torch"]


def test_without_texts_the_golden_ones_are_answered(words, models, capfd):
    assert main([*words, "--rounds", "1", "--threads", "1"]) == 0
    out = capfd.readouterr().out
    header, _, *rows, _, summary = out.splitlines()
    assert header.split() == ["engine", "p50", "ms", "p99", "ms", "same", "decisions"]
    assert [row.split()[0] for row in rows] == ["polyhead", "torch"]
    assert f" {len(read(models.bundle).golden().examples)} texts, 1 rounds" in summary


@pytest.mark.parametrize(
    "more", [["--limit", "0"], ["--rounds", "0"], ["--rounds", "few"]], ids=lambda m: "_".join(m)
)
def test_a_usage_error_has_exit_code_2(words, more, capfd):
    with pytest.raises(SystemExit) as stopped:
        main([*words, *more])
    assert stopped.value.code == 2
    assert capfd.readouterr().out == ""


def test_a_file_without_texts_is_a_message_and_exit_code_1(words, tmp_path, capfd):
    (tmp_path / "empty.jsonl").write_text("\n")
    assert main([*words, "--texts", str(tmp_path / "empty.jsonl"), "--rounds", "1"]) == 1
    assert capfd.readouterr().err.startswith("polyhead bench: ")


def test_a_missing_bundle_is_a_message_and_exit_code_1(models, tmp_path, capfd):
    assert main(["bench", "latency", str(tmp_path), "--against", str(models.checkpoint)]) == 1
    assert capfd.readouterr().err.startswith(f"polyhead bench: {tmp_path}: no bundle here")


@pytest.mark.parametrize("words", [["bench"], ["bench", "latency"]], ids=" ".join)
def test_help_imports_no_heavy_library(words):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: polyhead {' '.join(words)}")
    assert done.stderr == "imported:"
