import json
import subprocess
import sys

import pytest

from polyhead.bundle import read
from polyhead.cli.main import main
from polyhead_bench.cli import smoke
from polyhead_bench.peers import PEERS

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


@pytest.mark.parametrize("name", ["run", "soak", "runtime", "export", "compose"])
def test_a_folder_that_cannot_be_written_to_is_found_before_the_run(models, tmp_path, capfd, name):
    (tmp_path / "file").write_text("x")
    words = ["bench", name, "-o", str(tmp_path / "file" / "folder" / "out.json")]
    words += [] if name == "compose" else [str(models.bundle)]
    words += ["--checkpoint", str(models.checkpoint)] if name in ("run", "export") else []
    assert main(words) == 1
    assert "cannot be made" in capfd.readouterr().err


@pytest.mark.parametrize(
    "words", [["bench"], ["bench", "--smoke", "roofline", "bundle"]], ids=["nothing", "both"]
)
def test_smoke_stands_alone_in_the_place_of_a_measurement(words, capfd):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "expected --smoke alone, or one of setup, run" in capfd.readouterr().err


def test_smoke_asks_every_peer_of_this_environment_but_the_compiled_one():
    here = {name for name, spec in PEERS.items() if spec.environment is None}
    assert here - set(smoke.PEERS) == {"torch-compile"}
