"""`polyhead init`: a configuration out of rows."""

import json

import pytest

from polyhead.cli.main import main
from polyhead_models import config
from polyhead_models.data import examples
from polyhead_models.data.formats.base import Row
from polyhead_models.data.guessing import guesses
from polyhead_models.errors import ConfigError, DataError

SPAN = {"label": "DATE", "start": 0, "end": 2}


def rows(**columns):
    cells = zip(*columns.values(), strict=True)
    return [Row(f"f:{i}", dict(zip(columns, row, strict=True))) for i, row in enumerate(cells, 1)]


def guessed(**columns):
    heads, left = guesses(rows(**columns))
    return {head.target: head.kind for head in heads}, left


TEXTS = ["on 3 May", "late again", "where is it", "twice!"]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["a", "b", "a", "b"], "classification"),
        ([True, False, True, True], "classification"),
        ([1, 5, 1, 5], "classification"),
        (["1", "5", "1", "5"], "classification"),
        ([0.5, 1.5, 2.5, 1.5], "regression"),
        (["0.5", "1.5", "2.5", "1.5"], "regression"),
        ([["a"], [], ["a", "b"], []], "multilabel"),
        (['["a"]', "[]", "[]", "[]"], "multilabel"),
        ([[SPAN], [], [SPAN], None], "tokens"),
    ],
    ids=str,
)
def test_a_column_beside_a_text_is_guessed_by_its_values(column, kind):
    assert guessed(text=TEXTS, it=column) == ({"it": kind}, [])


def test_what_is_always_the_same_is_nothing_to_learn():
    assert guessed(text=TEXTS, it=["a", "b", "a", "b"], source=["web"] * 4)[1] == ["source"]


def test_columns_whose_names_look_alike_are_heads_of_different_names(tmp_path):
    rows = [{"text": text, "类": "ab"[i % 2], "标": "cd"[i % 2]} for i, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["init", str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / "config.toml")]) == 0
    heads = config.load(tmp_path / "config.toml").heads
    assert {name: head.target for name, head in heads.items()} == {"_": "类", "__2": "标"}


@pytest.mark.parametrize(
    ("tags", "words"), [(["O", "B-A"], False), (["NOUN", "VERB"], True)], ids=["spans", "words"]
)
def test_a_tag_for_each_word_is_a_tokens_head(tags, words):
    (head,), _ = guesses(rows(text=[["a", "b"]] * 3, tags=[tags] * 3))
    assert (head.kind, head.words) == ("tokens", words)


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (
            {"question": TEXTS, "context": TEXTS, "answers": [[{"text": "on", "start": 0}]] * 4},
            "answer",
        ),
        ({"premise": TEXTS, "hypothesis": TEXTS, "label": ["a", "b", "a", "b"]}, "classification"),
        ({"sentence1": TEXTS, "sentence2": TEXTS, "score": [0.1, 0.9, 0.5, 1.0]}, "embedding"),
        ({"query": TEXTS, "passage": TEXTS}, "embedding"),
    ],
    ids=["answers", "label", "score", "together"],
)
def test_pairs_are_read_as_pairs(columns, kind):
    (head,), _ = guesses(rows(**columns))
    assert (head.kind, head.text) == (kind, tuple(columns)[:2])


def test_ids_and_free_texts_are_left_out():
    found = guessed(text=TEXTS, id=[1, 1, 2, 2], note=["w", "x", "y", "z"], it=["a", "b", "a", "b"])
    assert found == ({"it": "classification"}, ["id", "note"])


def test_the_longest_texts_are_the_text_where_no_name_says_so():
    (head,), _ = guesses(rows(it=["a", "b", "a", "b"], words_of_a_customer=TEXTS))
    assert head.text == ("words_of_a_customer",)


@pytest.mark.parametrize(
    ("columns", "message"),
    [({"n": [1, 2]}, "no column is a text"), ({"text": ["a", "b"]}, "nothing to learn")],
    ids=["text", "target"],
)
def test_rows_without_a_text_or_a_target_are_refused(columns, message):
    with pytest.raises(DataError, match=message):
        guesses(rows(**columns))


@pytest.fixture
def data(tmp_path, write_rows):
    """Writes five rows into a file of a name."""

    def write(name):
        found = [
            {"text": text, "topic": topic, "entities": [SPAN]}
            for text, topic in zip([*TEXTS, "so late"], "ababa", strict=True)
        ]
        write_rows(tmp_path / name, found)
        return tmp_path / name

    return write


def test_what_init_writes_can_be_trained_on(data, encoder_folder, tmp_path):
    target = tmp_path / "config.toml"
    words = ["init", data("data.jsonl"), "-o", target, "--encoder", encoder_folder]
    assert main([str(word) for word in words]) == 0
    made = config.load(target)
    assert {name: head.kind for name, head in made.heads.items()} == {
        "topic": "classification",
        "entities": "tokens",
    }
    assert [len(examples.load(made, split)) for split in ("train", "validation")] == [4, 1]
    assert made.training == config.TrainingConfig()


def test_splits_are_told_by_the_names_of_files(data, tmp_path):
    target = tmp_path / "config.toml"
    files = [data(f"{name}.jsonl") for name in ("latest_train", "device", "my_val", "my.test")]
    assert main(["init", *map(str, files), "-o", str(target)]) == 0
    (source,) = config.load(target).data.values()
    assert source.train == tuple(str(file) for file in files[:2])
    assert (source.validation, source.test) == (str(files[2]), str(files[3]))
    assert source.validation_share == 0


def test_squad_is_known_by_its_form(tmp_path):
    question = {"id": "1", "question": "when?", "answers": [{"text": "May", "answer_start": 0}]}
    article = {
        "paragraphs": [{"context": "May was cold.", "qas": [question, {**question, "id": "2"}]}]
    }
    (tmp_path / "train.json").write_text(json.dumps({"data": [article]}))
    assert main(["init", str(tmp_path / "train.json"), "-o", str(tmp_path / "config.toml")]) == 0
    made = config.load(tmp_path / "config.toml")
    assert (made.data["rows"].format, made.heads["answers"].kind) == ("squad", "answer")


def test_bad_rows_are_passed_over_where_others_can_be_read(data, tmp_path):
    file, target = data("data.jsonl"), tmp_path / "config.toml"
    file.write_text(f"nonsense\n{file.read_text()}")
    assert main(["init", str(file), "-o", str(target)]) == 0
    assert set(config.load(target).heads) == {"topic", "entities"}


def test_a_file_of_bad_rows_is_refused_with_the_first(tmp_path, capsys):
    (tmp_path / "data.jsonl").write_text('[\n{"text": "a"}]\n')
    assert main(["init", str(tmp_path / "data.jsonl"), "-o", str(tmp_path / "c.toml")]) == 1
    assert "data.jsonl:1: not a JSON line" in capsys.readouterr().err


def test_nothing_is_written_over(data, tmp_path, capsys):
    target = tmp_path / "config.toml"
    target.write_text("mine")
    assert main(["init", str(data("data.jsonl")), "-o", str(target)]) == 1
    assert "exists" in capsys.readouterr().err
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        ("ner", "tokens"),
        ("text-classification", "classification"),
        ("QA", "answer"),
        ("sts", "embedding"),
    ],
)
def test_names_that_others_give_a_kind_are_explained(write_config, tmp_path, kind, ours):
    with pytest.raises(ConfigError, match=f"unknown kind '{kind}'.* is called {ours!r}"):
        config.load(write_config(tmp_path, heads={"topic": {"kind": kind}}))
