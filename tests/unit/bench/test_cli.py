import pytest

from polyhead.cli.main import main


@pytest.mark.parametrize(
    "more",
    [["--limit", "0"], ["--rounds", "0"], ["--rounds", "few"], ["--minutes", "0"]],
    ids="_".join,
)
def test_a_usage_error_has_exit_code_2(models, more, capfd):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "run", str(models.bundle), *more])
    assert stopped.value.code == 2
    assert capfd.readouterr().out == ""


def test_a_verb_is_needed(capfd):
    with pytest.raises(SystemExit) as stopped:
        main(["bench"])
    assert stopped.value.code == 2


def test_a_file_without_texts_is_a_message_and_exit_code_1(models, tmp_path, capfd):
    (tmp_path / "empty.jsonl").write_text("\n")
    words = ["bench", "run", str(models.bundle), "--texts", str(tmp_path / "empty.jsonl")]
    assert main([*words, "-o", str(tmp_path)]) == 1
    assert capfd.readouterr().err.startswith("polyhead bench: ")


def test_a_missing_bundle_is_a_message_and_exit_code_1(tmp_path, capfd):
    assert main(["bench", "run", str(tmp_path), "-o", str(tmp_path / "report")]) == 1
    assert capfd.readouterr().err.startswith(f"polyhead bench: {tmp_path}: no bundle here")
