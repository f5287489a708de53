"""Temperatures: found where they can be known, refused where not, and said in both cases."""

import json
import logging
import random as randoms
import re
from dataclasses import replace

import numpy as np
import pytest

import polyhead
from polyhead import bundle as bundles
from polyhead.heads import Classification, Embedding, Entities, HeadSpec, MultiLabel, Span
from polyhead.verify.golden import verify
from polyhead_export import temperatures
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_export.temperatures import fitted, with_temperature
from polyhead_models import checkpoint as checkpoints
from polyhead_models.data import examples
from polyhead_models.evaluation import Answered, evaluate
from polyhead_models.metrics.calibration import Judged
from polyhead_models.training import train

LABELS = ("a", "b", "c", "d", "e")


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def drawn(temperature, *, texts=4000, seed=0, labels=LABELS):
    """Answers whose logits are `temperature` times those that labels were drawn by."""
    random = np.random.default_rng(seed)
    honest = random.normal(scale=2.0, size=(texts, len(labels)))
    own = softmax(honest * temperature)
    true = [random.choice(labels, p=row) for row in softmax(honest)]
    return [
        Answered(
            Classification(labels[p.argmax()], p.max(), dict(zip(labels, p, strict=True))), t, 1
        )
        for p, t in zip(own, map(str, true), strict=True)
    ]


def spec(kind="classification.v1", activation="softmax", labels=LABELS):
    return HeadSpec(
        kind=kind, output="logits/x", labels=labels, activation=activation, max_tokens=16
    )


def fit(rows, own=None, split="validation"):
    return with_temperature("topic", own or spec(), rows, split)


@pytest.mark.parametrize("temperature", [0.3, 1.5, 4.0])
def test_a_known_temperature_is_found(temperature):
    found = fit(drawn(temperature))
    assert found.spec.temperature == (pytest.approx(temperature, rel=0.08),)
    measured = found.reliability
    assert measured.after["ece"] < 0.02 < measured.before["ece"]
    assert all(measured.after[name] < measured.before[name] for name in ("brier", "log_loss"))
    assert measured.decisions == 4000
    assert measured.remark is None


def test_each_label_of_a_set_has_its_own():
    random = np.random.default_rng(1)
    factors = np.array([0.5, 1.0, 3.0])
    honest = random.normal(scale=2.0, size=(6000, 3))
    true = random.uniform(size=honest.shape) < sigmoid(honest)
    found = fitted(Judged(sigmoid(honest * factors), true))
    assert found == pytest.approx(factors, rel=0.15)


def test_a_rare_label_has_the_temperature_of_all():
    random = np.random.default_rng(2)
    honest = random.normal(scale=2.0, size=(3000, 2))
    true = random.uniform(size=honest.shape) < sigmoid(honest)
    true[:, 1] = np.arange(3000) < 3
    one, rare = fitted(Judged(sigmoid(honest * 3), true))
    assert one == pytest.approx(3, rel=0.15)
    assert rare > one  # that of all, most of which is the rare label's own noise


def test_the_loss_is_least_at_what_is_found():
    own = Judged(
        softmax(np.random.default_rng(5).normal(size=(300, 4))),
        np.eye(4, dtype=bool)[np.arange(300) % 4],
        exclusive=True,
    )
    (found,) = fitted(own)
    losses = [own.tempered(np.array([t])).losses.sum() for t in (0.99 * found, found, 1.01 * found)]
    assert losses[1] == min(losses)


@pytest.mark.parametrize(
    ("rows", "remark"),
    [
        pytest.param(
            drawn(3, texts=1), "1 texts, spans or answers are few, 50 are needed", id="one"
        ),
        pytest.param(drawn(3, texts=5), "5 texts, spans or answers are few", id="five"),
        pytest.param(drawn(3, texts=20), "20 texts, spans or answers are few", id="twenty"),
        pytest.param(
            [row for row in drawn(3) if row.result.label == row.reference],
            "all .* decisions are right",
            id="all_right",
        ),
        pytest.param(
            [row for row in drawn(3) if row.result.label != row.reference],
            "all .* decisions are wrong",
            id="all_wrong",
        ),
        pytest.param(
            [row for row in drawn(3) if row.reference == "b"],
            "all texts have one label",
            id="one_label",
        ),
        pytest.param(drawn(1.0), "no temperature helps texts", id="honest_already"),
    ],
)
def test_where_nothing_can_be_known_there_is_none_and_it_is_said(rows, remark, caplog):
    caplog.set_level(logging.INFO, "polyhead_export")
    found = fit(rows)
    assert found.spec == spec()
    assert found.reliability.before == found.reliability.after
    assert re.search(remark, found.reliability.remark)
    assert found.reliability.remark in caplog.text


def test_texts_that_the_model_was_trained_on_give_none():
    found = fit(drawn(3), split="train")
    assert found.spec.temperature is None
    assert "no validation texts" in found.reliability.remark


def test_a_temperature_that_runs_away_stops_at_its_bound_and_is_named():
    random = np.random.default_rng(0)
    rows = [
        Answered(Classification("a", 1.0, {"a": 1 - 1e-30, "b": 1e-30}), str(label), 1)
        for label in random.choice(["a", "b"], size=200)
    ]
    found = fit(rows, spec(labels=("a", "b")))
    assert found.spec.temperature == (pytest.approx(temperatures.HIGHEST, rel=0.01),)
    assert "ran to its bound" in found.reliability.remark


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_say_nothing(wrong):
    rows = drawn(3, texts=100)
    rows[7] = Answered(Classification("a", wrong, dict.fromkeys(LABELS, wrong)), "a", 1)
    assert fit(rows) is None


def test_a_head_without_scores_or_without_references_says_nothing():
    vector = Answered(Embedding(np.ones(4, np.float32)), None, 1)
    assert fit([vector], spec("embedding.v1", "identity", ())) is None
    assert fit([]) is None
    assert fit([Answered(Entities(()), (), 1)] * 60, spec("tokens.v1")) is None


def test_spans_and_sets_have_temperatures_of_the_right_number():
    random = np.random.default_rng(3)
    rows = []
    for right in random.uniform(size=300) < 0.7:
        span = Span("a", "x", 0, 1, 0.97)
        rows.append(Answered(Entities((span,)), (("a", 0, 1),) if right else (), 1))
    found = fit(rows, spec("tokens.v1"))
    assert len(found.spec.temperature) == 1
    assert found.reliability.after["ece"] < 0.05 < 0.2 < found.reliability.before["ece"]
    sets = [
        Answered(MultiLabel((), dict.fromkeys(LABELS, 0.01)), ("a",) if i % 3 else (), 1)
        for i in range(300)
    ]
    found = fit(sets, spec("multilabel.v1", "sigmoid"))
    assert len(found.spec.temperature) == len(LABELS)
    assert found.reliability.decisions == 300 * len(LABELS)
    assert found.reliability.coverage == ()


def test_the_surest_answers_are_counted():
    found = fit(drawn(3.0))
    shares = [coverage.share for coverage in found.reliability.coverage]
    assert shares == [1.0, 0.95, 0.9, 0.8, 0.7]
    scores, right = found.after.decided
    for coverage in found.reliability.coverage:
        taken = scores >= coverage.min_score
        assert taken.mean() == pytest.approx(coverage.share, abs=0.001)
        assert right[taken].mean() == pytest.approx(coverage.accuracy, abs=0.001)


def test_the_card_shows_what_was_measured():
    found = fit(drawn(3.0))
    lines = temperatures.section({"topic": found.reliability}, {"topic": found.spec})
    assert any(line.startswith("| topic | 3.") for line in lines)
    none = fit(drawn(3.0, texts=20))
    lines = temperatures.section({"topic": none.reliability}, {"topic": none.spec})
    assert "- topic: no temperature: 20 texts, spans or answers are few, 50 are needed." in lines
    assert temperatures.section({}, {}) == []


@pytest.fixture(scope="module")
def unsure(make_config, any_loss, tmp_path_factory):
    """A checkpoint and its bundle; in validation and test two labels of five are another."""
    folder = tmp_path_factory.mktemp("unsure")
    config = make_config(folder)
    random = randoms.Random(0)
    for split in ("validation", "test"):
        path = folder / f"{split}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] * 20
        for row in rows:
            if random.random() < 0.4:
                row["topic"] = random.choice(["billing", "delivery", "praise"])
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    training = replace(config.training, epochs=12, learning_rate=1e-3)
    heads = {name: config.heads[name] for name in ("topic", "embedding")}
    made = train(replace(config, heads=heads, training=training), folder / "checkpoint").path
    export(made, folder / "bundle", ExportSettings(limits=any_loss))
    return made, folder / "bundle"


def test_a_bundle_has_the_temperature_and_the_same_decisions(unsure):
    checkpoint, bundle = unsure
    manifest = bundles.read(bundle).manifest
    assert set(manifest.reliability) == {"topic"}
    assert manifest.heads["topic"].temperature[0] > 1
    measured = manifest.reliability["topic"]
    assert measured.after["ece"] < measured.before["ece"] / 2
    without = replace(manifest.heads["topic"], temperature=None)
    assert without == checkpoints.describe(checkpoint).heads["topic"]
    assert (
        f"| topic | {manifest.heads['topic'].temperature[0]:.2f} |"
        in (bundle / "README.md").read_text()
    )


def test_its_golden_answers_are_at_the_temperature(unsure):
    found = verify(unsure[1])
    assert found.passed
    assert all(check.reproduced for check in found.heads)


def test_evaluate_shows_what_the_temperature_does_to_other_texts(unsure):
    checkpoint, bundle = unsure
    own = checkpoints.load(checkpoint)
    test_set = examples.load(own.description.config, "test")
    before = evaluate(own.engine(), test_set)["topic"].figures
    with polyhead.load(bundle) as engine:
        after = evaluate(engine, test_set)["topic"].figures
    assert after["ece"] < before["ece"]
    assert after["log_loss"] < before["log_loss"]


def test_a_deployed_head_keeps_its_temperature(unsure, any_loss, tmp_path):
    checkpoint, bundle = unsure
    export(checkpoint, tmp_path / "next", ExportSettings(limits=any_loss, calibrated_as=bundle))
    before, after = (bundles.read(path).manifest for path in (bundle, tmp_path / "next"))
    assert after.heads == before.heads
    assert after.reliability == before.reliability


def test_texts_without_labels_give_no_temperature(unsure, any_loss, tmp_path):
    given = [examples.Example(f"t:{n}", "t", f"parcel {n} was late", {}) for n in range(200)]
    settings = ExportSettings(limits=any_loss)
    export(unsure[0], tmp_path / "bundle", settings, examples=(given[::2], given[1::2]))
    manifest = bundles.read(tmp_path / "bundle").manifest
    assert manifest.reliability == {}
    assert manifest.heads["topic"].temperature is None
