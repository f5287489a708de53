"""`polyhead import` and `combine` of checkpoints on the command line."""

import json

import pytest
import torch
import transformers

from polyhead.cli.main import main
from polyhead_models import checkpoint as checkpoints


@pytest.fixture
def polyhead(capfd):
    """Runs `polyhead WORDS` here: exit code, stdout and stderr."""

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit:
            code = exit.code
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def classifier(wordpiece, wordpiece_json, tmp_path):
    """A tiny DistilBERT for three labels without names."""
    torch.manual_seed(0)
    settings = transformers.DistilBertConfig(
        vocab_size=wordpiece.vocabulary_size, dim=16, n_layers=1, n_heads=2, hidden_dim=16
    )
    settings.num_labels = 3
    folder = tmp_path / "classifier"
    transformers.DistilBertForSequenceClassification(settings).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["import", "combine"])
def test_help_shows_an_example(polyhead, name):
    code, out, err = polyhead(name, "--help")
    assert (code, err) == (0, "")
    assert f"Example:\n  polyhead {name} " in out


def test_import_makes_a_checkpoint(polyhead, classifier, tmp_path):
    words = ("import", classifier, "-o", tmp_path / "made", "--head", "topic", "--pair", "--json")
    code, out, err = polyhead(*words, "--max-tokens", 64)
    made = json.loads(out)
    assert code == 0
    assert "LABEL_0" in err
    assert (made["name"], made["spec"]["input"], made["difference"] < 1e-5) == (
        "topic",
        "pair",
        True,
    )
    assert checkpoints.describe(tmp_path / "made").heads["topic"].max_tokens == 64


def test_import_shows_the_head(polyhead, classifier, tmp_path):
    code, out, _ = polyhead("import", classifier, "-o", tmp_path / "made", "--answer", "labels")
    assert code == 0
    assert out.splitlines()[2].split()[:2] == ["multilabel", "multilabel.v1"]


def test_import_says_what_it_cannot_read(polyhead, tmp_path):
    code, out, err = polyhead("import", tmp_path, "-o", tmp_path / "made")
    assert (code, out) == (1, "")
    assert err.startswith(f"polyhead import: {tmp_path / 'config.json'}: no such file")


def test_combine_needs_different_names(polyhead, checkpoint, tmp_path):
    code, _, err = polyhead("combine", checkpoint, checkpoint, "-o", tmp_path / "both")
    assert code == 1
    assert "both have a head 'topic'" in err
    words = (
        "combine",
        checkpoint,
        checkpoint,
        "-o",
        tmp_path / "both",
        "--prefix",
        "",
        "--prefix",
        "b-",
    )
    assert polyhead(*words)[0] == 0
    assert len(checkpoints.describe(tmp_path / "both").heads) == 2 * len(
        checkpoints.describe(checkpoint).heads
    )


@pytest.mark.parametrize(
    "words",
    [("{}", "-o", "x"), ("{}", "{}", "-o", "x", "--prefix", "a"), ("{}", "{}")],
    ids=["one", "prefixes", "no_output"],
)
def test_combine_tells_how_to_call_it(polyhead, checkpoint, words):
    code, _, err = polyhead("combine", *(word.format(checkpoint) for word in words))
    assert code == 2
    assert "usage: polyhead combine" in err
