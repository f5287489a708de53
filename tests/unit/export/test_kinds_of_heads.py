"""A model with heads of every kind, for texts and for pairs, from rows to both bundles."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import polyhead
from polyhead import bundle as bundles
from polyhead.inference.session import OnnxSession
from polyhead.system.schema import plain
from polyhead.verify.golden import verify
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import HeadConfig
from polyhead_models.data import examples
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train

PAIR = ("question", "text")
HEADS = {
    "topic": HeadConfig(kind="classification", data="mail", target="topic"),
    "gist": HeadConfig(kind="summary", data="mail", target="gist", sentences=1),
    "short": HeadConfig(kind="compress", data="mail", target="short", words=4),
    "tags": HeadConfig(kind="multilabel", data="mail", target="tags"),
    "days": HeadConfig(kind="regression", data="mail", target="days", hidden=(16,)),
    "embedding": HeadConfig(kind="embedding"),
    "answer": HeadConfig(kind="answer", data="mail", text=PAIR, target="answers"),
    "fits": HeadConfig(kind="classification", data="mail", text=PAIR, target="fits"),
}
TEXTS = ("topic", "gist", "short", "tags", "days", "embedding")
LONG = "The parcel to Oslo was 3 days late. Thanks, 5 stars from Lima! " * 4


@pytest.fixture(scope="module")
def learnt(make_config, tmp_path_factory):
    """A checkpoint with all heads; one text is longer than the encoder reads."""
    folder = tmp_path_factory.mktemp("pairs")
    made = make_config(folder)
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for index, row in enumerate(rows):
            (span,) = row["entities"]
            answer = {"text": row["text"][span["start"] : span["end"]], "start": span["start"]}
            row["question"] = ("where", "who")[index % 2]
            row["answers"] = [answer] if index % 2 == 0 else []
            row["fits"] = ("yes", "no")[index % 2]
            row["gist"] = [{"start": 0, "end": len(row["text"])}]
            row["short"] = " ".join(row["text"].split()[:: 1 + index % 2][:4])
            row["tags"] = sorted({row["topic"], row["text"].split()[0]} - {"praise"})
            row["days"] = 1000 + index % 7
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return train(replace(made, heads=HEADS), folder / "checkpoint").path


@pytest.fixture(scope="module")
def exported(learnt, any_loss, tmp_path_factory):
    @cache
    def get(precision):
        target = tmp_path_factory.mktemp(precision) / "bundle"
        settings = ExportSettings(precision=precision, limits=any_loss)
        export(learnt, target, settings)
        return target

    return get


@pytest.fixture(params=["fp32", "int8"])
def bundle(exported, request):
    return exported(request.param)


@pytest.fixture
def engine(bundle):
    with polyhead.load(bundle) as engine:
        yield engine


INPUTS = [
    "The parcel to Rome was 4 days late.",
    ("where", "The parcel to Rome was 4 days late."),
    ("who", ""),
    "",
    LONG,
    ("where", LONG),
    ("The parcel was late!", "Thanks, 2 stars from Kyoto!"),
]


def same(one, other):
    """Whether two predictions are alike to the bit."""
    return json.dumps(one.to_dict()) == json.dumps(other.to_dict())


def test_a_bundle_gives_the_trained_models_golden_answers(bundle):
    found = verify(bundle)
    assert found.passed
    assert {check.head for check in found.heads} == set(HEADS)
    assert all(check.reproduced for check in found.heads)
    assert all(check.texts > 1 for check in found.heads)


def test_golden_examples_are_texts_and_pairs_and_an_empty_one_of_each(bundle):
    examples = bundles.read(bundle).golden().examples
    assert [e.input for e in examples[:2]] == ["", ("", "")]
    for example in examples:
        heads = TEXTS if isinstance(example.input, str) else ("answer", "fits")
        assert set(example.results) == set(example.logits) == set(heads)
    assert len({type(e.input) for e in examples[2:]}) == 2


def test_bert_reads_the_kind_of_each_token(bundle):
    manifest = bundles.read(bundle).manifest
    assert manifest.graphs[0].inputs == ("input_ids", "token_type_ids")
    assert {name for name, spec in manifest.heads.items() if spec.input == "pair"} == {
        "answer",
        "fits",
    }


def test_texts_and_pairs_of_one_list_go_to_their_heads(engine):
    for item, found in zip(INPUTS, engine.predict(INPUTS), strict=True):
        assert set(found.results) == (set(TEXTS) if isinstance(item, str) else {"answer", "fits"})


def test_answers_are_the_same_to_the_bit_alone_and_in_a_list(engine):
    together = engine.predict([*INPUTS, *reversed(INPUTS)])
    for item, first, last in zip(INPUTS, together, reversed(together), strict=False):
        assert same(engine(item), first)
        assert same(first, last)


def test_long_texts_are_read_in_windows(engine):
    alone, pair = engine.predict([LONG, ("where", LONG)])
    assert alone.windows > 2
    assert pair.windows > alone.windows
    answer = pair["answer"]
    assert answer.text == LONG[answer.start : answer.end]
    assert (
        answer.candidates[0].text
        == LONG[answer.candidates[0].start :][: len(answer.candidates[0].text)]
    )


def test_the_graph_answers_like_pytorch(exported, learnt):
    made = checkpoints.load(learnt)
    expected = made.engine().logits(INPUTS)
    with polyhead.load(exported("fp32")) as engine:
        found = engine.logits(INPUTS)
        for name, rows in expected.items():
            for one, other in zip(found[name], rows, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-4)
        decisions = [
            [result.decision for result in p.results.values()] for p in engine.predict(INPUTS)
        ]
    reached = made.engine().predict(INPUTS)
    assert decisions == [[result.decision for result in p.results.values()] for p in reached]


def test_quality_is_measured_for_every_head(bundle):
    quality = bundles.read(bundle).manifest.quality
    assert {name: q.metric for name, q in quality.items()} == {
        "topic": "accuracy",
        "gist": "rouge1",
        "short": "rouge1",
        "tags": "micro_f1",
        "days": "pearson",
        "embedding": None,
        "answer": "f1",
        "fits": "accuracy",
    }
    assert all(q.texts == 16 for q in quality.values())
    assert all(0.5 <= q.agreement <= 1 + 1e-6 for q in quality.values())


def test_thresholds_and_scales_come_with_the_bundle(bundle, learnt):
    manifest = bundles.read(bundle).manifest
    heads = manifest.heads
    assert heads == checkpoints.describe(learnt).heads
    assert heads["answer"].no_answer is not None
    assert len(heads["tags"].thresholds) == len(heads["tags"].labels) > 3
    assert heads["days"].scale[0] == pytest.approx(1003, abs=0.5)
    assert plain(manifest)["heads"]["days"]["scale"] == list(heads["days"].scale)


def test_the_kind_of_a_token_makes_a_difference_for_the_heads_of_pairs(bundle):
    manifest = bundles.read(bundle).manifest
    session = OnnxSession(bundle / manifest.graphs[0].file)
    ids = np.arange(5, 11)[None]
    zeros, halves = (
        session.run(["logits/fits"], {"input_ids": ids, "token_type_ids": types})[0]
        for types in (np.zeros((1, 6), np.int64), np.array([[0, 0, 0, 1, 1, 1]]))
    )
    assert np.abs(zeros - halves).max() > 1e-4


def test_the_quality_of_the_checkpoint_is_that_of_its_tuned_heads(bundle, learnt):
    made = checkpoints.load(learnt)
    found = evaluate(made.engine(), examples.load(made.description.config, "validation"))
    quality = bundles.read(bundle).manifest.quality
    for name in ("tags", "days"):
        assert quality[name].fp32 == pytest.approx(found[name].value)


def test_numbers_are_in_the_units_of_the_rows(exported, learnt):
    config = checkpoints.describe(learnt).config
    texts = [row.text for row in examples.load(config, "test") if isinstance(row.text, str)]
    with polyhead.load(exported("fp32")) as engine:
        found = [each["days"].value for each in engine.predict(texts, heads=["days"])]
    assert np.mean(found) == pytest.approx(1003, abs=6)


def test_a_prediction_is_plain_data_and_a_page(exported):
    with polyhead.load(exported("int8")) as engine:
        prediction = engine("The parcel to Oslo was 3 days late.", heads=["tags", "days"])
    data = json.loads(json.dumps(prediction.to_dict(), allow_nan=False))
    assert set(data["heads"]["tags"]) == {"labels", "scores"}
    assert data["heads"]["days"] == {"value": prediction["days"].value}
    assert [line.split()[0] for line in str(prediction).splitlines()] == ["tags", "days"]
