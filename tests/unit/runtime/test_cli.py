import json
import shutil
import subprocess
from pathlib import Path

import pytest

from polyhead.cli.main import main


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["run"], id="no_bundle"),
        pytest.param(["run", "bundle"], id="neither_text_nor_input"),
        pytest.param(["run", "bundle", "x", "--input", "-"], id="text_and_input"),
        pytest.param(["run", "bundle", "x", "--on-overflow", "cut"], id="unknown_choice"),
        pytest.param(["run", "bundle", "x", "--threads", "two"], id="no_number"),
        pytest.param(["verify", "bundle", "--frobnicate"], id="unknown_option"),
        pytest.param(["inpsect", "bundle"], id="unknown_command"),
    ],
)
def test_a_usage_error_has_exit_code_2(polyhead, words):
    assert polyhead(*words).returncode == 2


def test_an_unknown_command_names_the_nearest(polyhead):
    done = polyhead("inpsect", "bundle")
    assert "unknown command 'inpsect'; installed: " in done.stderr
    assert "Did you mean 'inspect'?" in done.stderr


@pytest.mark.parametrize(
    ("command", "distribution"),
    [("train", "polyhead-models"), ("export", "polyhead-export"), ("bench", "polyhead-bench")],
)
def test_a_command_that_is_not_installed_names_its_distribution(
    monkeypatch, capsys, command, distribution
):
    monkeypatch.setattr("polyhead.system.plugins.points", lambda group: [])
    assert main([command, "--help"]) == 2
    assert f"pip install {distribution}'" in capsys.readouterr().err


def test_progress_can_be_silenced(polyhead, bundle):
    words = ("run", bundle, "--input", "-", "--heads", "topic")
    assert polyhead(*words, stdin=b'"a"').stderr.startswith("1 text in 0:0")
    assert polyhead(*words, "--quiet", stdin=b'"a"').stderr == ""


@pytest.mark.parametrize("name", ["run", "verify", "inspect"])
def test_help_shows_an_example(polyhead, name):
    done = polyhead(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Example:\n  polyhead {name} bundle/" in done.stdout


def test_the_overview_lists_the_commands(polyhead):
    done = polyhead("--help")
    assert done.returncode == 0
    (own,) = [line for line in done.stdout.splitlines() if "commands of polyhead:" in line]
    assert {"inspect", "push", "run", "verify"} <= set(own.split())


def test_the_version(polyhead):
    assert polyhead("--version").stdout == "polyhead 0.1.0\n"


def test_verify_passes_a_good_bundle(polyhead, bundle):
    done = polyhead("verify", bundle)
    assert done.returncode == 0
    assert "FAIL" not in done.stdout
    assert "topic: 5 of 5 decisions as trained" in done.stdout


def test_verify_fails_a_bundle_with_other_answers(polyhead, bundle_copy, edit_json, reseal):
    edit_json(bundle_copy / "golden.json", lambda data: data["examples"][0]["ids"].append(1))
    reseal(bundle_copy)
    done = polyhead("verify", bundle_copy)
    assert done.returncode == 1
    assert "FAIL  token ids of the golden texts" in done.stdout


@pytest.mark.parametrize(("changed", "code"), [(False, 0), (True, 1)], ids=["good", "changed"])
def test_verify_writes_json(polyhead, bundle_copy, edit_json, reseal, changed, code):
    if changed:
        edit_json(bundle_copy / "golden.json", lambda data: data["examples"][0]["ids"].append(1))
        reseal(bundle_copy)
    done = polyhead("verify", bundle_copy, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["passed"]) == (code, not changed)
    assert [head["head"] for head in found["heads"]] == ["topic", "entities", "embedding"]


def test_verify_writes_json_for_logits_of_another_shape(polyhead, bundle_copy, edit_json, reseal):
    def change(golden):
        golden["examples"][0]["logits"]["topic"].append(0.0)

    edit_json(bundle_copy / "golden.json", change)
    reseal(bundle_copy)
    done = polyhead("verify", bundle_copy, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["passed"] is False


def test_inspect_writes_the_manifest_as_json(polyhead, bundle):
    done = polyhead("inspect", bundle, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads((bundle / "manifest.json").read_text())


def test_inspect_says_what_each_file_is_for(polyhead, bundle_copy, edit_json):
    shutil.copy(bundle_copy / "golden.json", bundle_copy / "calibration.json")

    def add(manifest):
        manifest["calibration"] = {**manifest["golden"], "file": "calibration.json"}

    edit_json(bundle_copy / "manifest.json", add)
    done = polyhead("inspect", bundle_copy)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("calibration.json")]
    assert line.endswith("  calibration")


def test_inspect_shows_a_page(polyhead, bundle):
    done = polyhead("inspect", bundle)
    assert done.returncode == 0
    for part in ("bundle format 1", "encoder tiny", "model.onnx", "PERSON, PLACE", "0.8000"):
        assert part in done.stdout


def test_inspect_fits_a_terminal_whatever_the_number_of_labels(polyhead, bundle_copy, edit_json):
    labels = [f"ask about the state of order {n}" for n in range(150)]

    def change(manifest):
        manifest["heads"]["topic"]["labels"] = labels

    edit_json(bundle_copy / "manifest.json", change)
    lines = polyhead("inspect", bundle_copy).stdout.splitlines()
    assert max(map(len, lines[1:])) <= 80  # the first has the path
    assert ", ".join(labels) in " ".join(" ".join(lines).split())
    [row] = [line for line in lines if line.startswith("topic ") and "classification.v1" in line]
    assert row.endswith(" 150")


@pytest.mark.parametrize("words", [["run", "x"], ["verify"], ["inspect"]], ids=lambda w: w[0])
@pytest.mark.parametrize("damage", ["changed", "missing", "no_bundle"])
def test_a_damaged_bundle_is_a_message_and_exit_code_1(polyhead, bundle_copy, words, damage):
    file = bundle_copy / ("manifest.json" if damage == "no_bundle" else "tokenizer.json")
    if damage == "changed":
        file.write_text("{}")
    else:
        file.unlink()
    done = polyhead(words[0], bundle_copy, *words[1:])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"polyhead {words[0]}: {bundle_copy}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_message_and_exit_code_1(command, bundle):
    start, environment = command
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*start, "inspect", str(bundle)],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"polyhead inspect: ")
    assert b"No space left" in done.stderr


INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.{before})
def interrupt(event, arguments):
    if event == "import" and arguments[0] == "onnxruntime":
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(interrupt)
from polyhead_command import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("before", "code", "said"),
    [
        ("default_int_handler", 130, "\npolyhead: interrupted (SIGINT)\n"),
        ("SIG_IGN", 0, ""),
    ],
    ids=["usual", "ignored"],
)
def test_the_installed_command_answers_an_interrupt_while_it_is_imported(
    command, before, code, said
):
    [python, *_], environment = command
    done = subprocess.run(
        [python, "-c", INTERRUPTED.format(before=before), "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (code, said)
