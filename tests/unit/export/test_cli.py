import json

import pytest

from polyhead import bundle as bundles
from polyhead.cli.main import main


def test_json_on_stdout_is_the_manifest_and_progress_goes_to_stderr(checkpoint, tmp_path, capfd):
    target = tmp_path / "bundle"
    words = ["export", str(checkpoint), "-o", str(target), "--precision", "int8", "--json"]
    words += ["--max-drop", "100", "--max-flips", "100"]
    assert main([*words, "--calibration-texts", "4", "--seed", "3"]) == 0
    said = capfd.readouterr()
    assert json.loads(said.out) == json.loads((target / "manifest.json").read_text())
    assert "tracing encoder and heads" in said.err
    assert "calibrating on 4 training texts" in said.err


def test_without_json_a_table_of_heads_is_printed(checkpoint, tmp_path, capfd):
    target = tmp_path / "bundle"
    assert main(["export", str(checkpoint), "-o", str(target), "--precision", "fp32"]) == 0
    said = capfd.readouterr()
    header, _, *rows = said.out.splitlines()
    assert header.split()[:6] == ["head", "metric", "split", "PyTorch", "exported", "drop"]
    quality = bundles.read(target).manifest.quality
    assert [row.split()[0] for row in rows] == list(quality)
    assert f"bundle: {target}" in said.err


def test_an_error_is_one_line_on_stderr_and_exit_code_1(tmp_path, capfd):
    assert main(["export", str(tmp_path / "none"), "-o", str(tmp_path / "bundle")]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"polyhead export: {tmp_path / 'none'}: no checkpoint here")
    assert len(said.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["c"], id="no_output"),
        pytest.param(["-o", "b"], id="no_checkpoint"),
        pytest.param(["c", "-o", "b", "--precision", "fp16"], id="unknown_precision"),
        pytest.param(["c", "-o", "b", "--calibration-texts", "0"], id="no_texts"),
        pytest.param(["c", "-o", "b", "--max-drop", "-1"], id="negative_drop"),
        pytest.param(["c", "-o", "b", "--max-drop", "nan"], id="no_drop"),
        pytest.param(["c", "-o", "b", "--max-flips", "101"], id="too_many_flips"),
        pytest.param(["c", "-o", "b", "--tie-margin", "1.5"], id="no_probability"),
    ],
)
def test_a_usage_error_has_exit_code_2(words, capfd):
    with pytest.raises(SystemExit) as stopped:
        main(["export", *words])
    assert stopped.value.code == 2
    assert "usage: polyhead export" in capfd.readouterr().err
