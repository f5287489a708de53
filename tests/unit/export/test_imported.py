"""Imported checkpoints as graphs: dense layers of a head in ONNX, texts from a file."""

import json
from functools import cache

import numpy as np
import pytest
import torch
import transformers

import polyhead
from polyhead_export.errors import CalibrationError
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_export.texts import read_file
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.combining import Part, combine
from polyhead_models.errors import DataError
from polyhead_models.importing import ImportOptions, import_model

FAMILIES = ("bert", "distilbert")
TASKS = {
    "sequence": transformers.AutoModelForSequenceClassification,
    "tokens": transformers.AutoModelForTokenClassification,
    "answer": transformers.AutoModelForQuestionAnswering,
}
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,
    "max_position_embeddings": 42,
}
OWN = {
    "bert": SIZES,
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "initializer_range": 0.2,
        "max_position_embeddings": 42,
    },
}
TEXTS = [f"the parcel of anna was {n} days late in oslo" for n in range(24)]
PAIRS = [("who was late?", text) for text in TEXTS]


@pytest.fixture(scope="module")
def imported(wordpiece, wordpiece_json, tmp_path_factory):
    """`imported(family, task)`: a tiny model of that class as a checkpoint."""
    place = tmp_path_factory.mktemp("imported")

    @cache
    def make(family, task):
        torch.manual_seed(5)
        config = transformers.AutoConfig.for_model(
            family, vocab_size=wordpiece.vocabulary_size, **OWN[family]
        )
        if task != "answer":
            config.id2label = {0: "O", 1: "B-A", 2: "I-A"}
            config.label2id = {label: i for i, label in config.id2label.items()}
        folder = place / f"{family}-{task}"
        with encoders.quiet():
            model = TASKS[task].from_config(config)
            # The encoder of a family is the same for all tasks.
            torch.manual_seed(6)
            shared = transformers.AutoModel.from_config(config)
            model.base_model.load_state_dict(shared.state_dict(), strict=False)
            model.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
        # Not the family's own: transformers would build that one of this vocabulary.
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
        target = place / f"{family}-{task}.checkpoint"
        return import_model(str(folder), target, ImportOptions()).path

    return make


@pytest.fixture
def write(tmp_path):
    """Writes JSON lines: `write(values)`."""

    def made(values, name="texts.jsonl"):
        path = tmp_path / name
        path.write_text("".join(f"{json.dumps(v)}\n" for v in values), encoding="utf-8")
        return path

    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_imported_heads_over_one_encoder_are_one_graph(imported, write, tmp_path, family):
    parts = [Part(imported(family, task)) for task in TASKS]
    combine(parts, tmp_path / "all")
    given = read_file(write([*TEXTS, *PAIRS]))
    export(tmp_path / "all", tmp_path / "bundle", ExportSettings(precision="fp32"), examples=given)
    assert len(list((tmp_path / "bundle").glob("*.onnx"))) == 1
    with polyhead.load(tmp_path / "bundle") as engine:
        assert list(engine.heads) == ["classification", "tokens", "answer"]
        found = {"text": engine.logits(TEXTS), "pair": engine.logits(PAIRS)}
    for part in parts:
        engine = checkpoints.load(part.path).engine()
        for name, spec in engine.heads.items():
            expected = engine.logits(PAIRS if spec.input == "pair" else TEXTS)[name]
            for a, b in zip(found[spec.input][name], expected, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-4)


def test_an_int8_bundle_needs_texts_and_no_targets(imported, write, tmp_path):
    path = imported("bert", "sequence")
    manifest = export(path, tmp_path / "bundle", ExportSettings(), examples=read_file(write(TEXTS)))
    quality = manifest.quality["classification"]
    assert (quality.split, quality.texts, quality.metric) == ("texts", 12, None)


def test_without_texts_an_imported_checkpoint_says_what_to_do(imported, tmp_path):
    with pytest.raises(DataError, match=r"(?s)remembers no data.*shuf .* > texts\.txt.*--texts"):
        export(imported("bert", "sequence"), tmp_path / "bundle", ExportSettings())


def test_a_file_of_texts_is_parted(write, tmp_path):
    train, measured = read_file(write([{"q": "a", "c": "b"}, ["c", "d"]]), "q,c")
    assert ([e.text for e in train], [e.text for e in measured]) == ([("a", "b")], [("c", "d")])
    (tmp_path / "a.txt").write_text("one\n\n", encoding="utf-8")
    train, measured = read_file(tmp_path / "a.txt")
    assert [e.text for e in train] == [e.text for e in measured] == ["one"]


def test_a_head_that_reads_pairs_asks_for_pairs(imported, tmp_path):
    with pytest.raises(DataError, match=r"--texts pairs\.jsonl --field question,context"):
        export(imported("bert", "answer"), tmp_path / "bundle", ExportSettings())


def test_one_text_again_and_again_is_enough_for_a_float_bundle(imported, write, tmp_path):
    path, given = imported("bert", "sequence"), read_file(write(["late"] * 9))
    found = export(path, tmp_path / "bundle", ExportSettings(), examples=given)
    assert found.graphs[0].precision == "fp32"
    with pytest.raises(CalibrationError, match=r"all 5 texts .* int8 needs different ones"):
        export(path, tmp_path / "int8", ExportSettings(precision="int8"), examples=given)
    few = ExportSettings(precision="int8", calibration_texts=1)
    with pytest.raises(CalibrationError, match="found 1, int8 needs at least 2"):
        export(path, tmp_path / "int8", few, examples=read_file(write(["late", "soon", "now"])))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_texts_of_any_system_are_read(tmp_path, name, end):
    lines = ['"one"', "", '"tw\u2028o"', ""] if name == "a.jsonl" else ["one", "", "tw\u2028o", ""]
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + end.join(lines).encode())
    assert [e.text for part in read_file(tmp_path / name) for e in part] == ["one", "tw\u2028o"]
    (tmp_path / name).write_bytes(end.join(lines).encode("utf-16"))
    with pytest.raises(DataError, match=r"a\.\w+:1: found UTF-16, expected UTF-8"):
        read_file(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_text_knows_the_line_that_it_stands_in(tmp_path, name):
    (tmp_path / name).write_text('\n"one"\n\n  \n"two"\n', encoding="utf-8")
    (first,), (second,) = read_file(tmp_path / name)
    assert (first.where, second.where) == (f"{tmp_path / name}:2", f"{tmp_path / name}:5")


@pytest.mark.parametrize(
    ("content", "part"),
    [("", "no text in it"), ('{"body": "x"}\n', "texts.jsonl:1"), ("not json\n", "JSON line")],
    ids=["empty", "key", "json"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, part):
    (tmp_path / "texts.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=part):
        read_file(tmp_path / "texts.jsonl")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read"):
        read_file(tmp_path / "none.jsonl")
