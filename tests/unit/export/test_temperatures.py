"""Temperatures: found where they can be known, refused where not, and said in both cases."""

import json
import random as randoms
import re
from dataclasses import replace

import numpy as np
import pytest

import polyhead
from polyhead import bundle as bundles
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding
from polyhead.verify.golden import verify
from polyhead_export import temperatures
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_export.temperatures import LabelledLogits, summary, with_temperature
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import DataConfig
from polyhead_models.data import examples
from polyhead_models.evaluation import evaluate
from polyhead_models.heads.answer import AnswerSpans

LABELS = ("a", "b", "c", "d", "e")
WORD = Encoding(
    *("word", np.zeros(3, np.int64), np.array([(0, 0), (0, 4), (0, 0)])),
    special=np.array([True, False, True]),
)


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def labelled(logits, references):
    return [
        LabelledLogits(row, WORD, reference)
        for row, reference in zip(logits.astype(np.float32), references, strict=True)
    ]


def drawn(temperature, *, texts=4000, seed=0):
    """Texts whose logits are `temperature` times those that their labels were drawn by."""
    random = np.random.default_rng(seed)
    honest = random.normal(scale=2.0, size=(texts, len(LABELS)))
    true = [str(random.choice(LABELS, p=row)) for row in softmax(honest)]
    return labelled(honest * temperature, true)


def decided(text):
    return LABELS[text.logits.argmax()]


def spec(kind="classification.v1", activation="softmax", labels=LABELS, **more):
    more = {"output": "logits/x", "max_tokens": 16, **more}
    return HeadSpec(kind=kind, labels=labels, activation=activation, **more)


def fit(texts, own=None, split="validation"):
    return with_temperature("topic", own or spec(), texts, split)


@pytest.mark.parametrize("temperature", [0.3, 1.5, 4.0])
def test_a_known_temperature_is_found(temperature):
    found = fit(drawn(temperature))
    assert found.spec.temperature == (pytest.approx(temperature, rel=0.08),)
    measured = found.reliability
    assert measured.after["ece"] < 0.02 < measured.before["ece"]
    assert all(measured.after[name] < measured.before[name] for name in ("brier", "log_loss"))
    assert measured.decisions == 4000
    assert measured.remark is None


def test_the_loss_is_least_at_the_temperature():
    texts = drawn(2.0, texts=500)
    (found,) = fit(texts).spec.temperature

    def loss(temperature):
        own = decoder("topic", spec(temperature=(temperature,)))
        results = [own.decode(text.logits, WORD) for text in texts]
        return -np.mean(
            [np.log(r.scores[t.reference]) for r, t in zip(results, texts, strict=True)]
        )

    assert loss(found) < min(loss(0.97 * found), loss(1.03 * found))


def test_each_label_of_a_set_has_its_own_and_a_rare_one_that_of_all():
    random = np.random.default_rng(1)
    factors = np.array([0.5, 1.0, 3.0, 3.0])
    honest = random.normal(scale=2.0, size=(4000, 4))
    true = random.uniform(size=honest.shape) < sigmoid(honest)
    true[:, 3] = np.arange(4000) < 9
    references = [tuple(np.array(LABELS[:4])[row]) for row in true]
    found = fit(
        labelled(honest * factors, references), spec("multilabel.v1", "sigmoid", LABELS[:4])
    )
    *own, rare = found.spec.temperature
    assert own == pytest.approx(factors[:3], rel=0.15)
    assert rare not in own
    assert found.reliability.decisions == 4 * 4000
    assert found.reliability.coverage == ()
    assert found.reliability.after["log_loss"] < found.reliability.before["log_loss"]


def test_spans_have_the_temperature_at_which_they_are_as_often_right():
    random = np.random.default_rng(3)
    logits = np.zeros((400, 3, 3))
    logits[:, 1, 1] = 6.0  # one span a text, with a score of 0.995
    right = random.uniform(size=400) < 0.7
    references = [(("a", 0, 4),) if each else () for each in right]
    found = fit(labelled(logits, references), spec("tokens.v1", labels=("a",)))
    assert len(found.spec.temperature) == 1
    assert found.reliability.before["ece"] == pytest.approx(0.3, abs=0.05)
    assert found.reliability.after["ece"] < found.reliability.before["ece"] / 2


def test_answers_have_one_too():
    random = np.random.default_rng(4)
    logits = np.zeros((400, 3, 2))
    logits[:, 1] = random.uniform(2, 6, size=(400, 1))
    word, none = AnswerSpans(((0, 4),), ("word",)), AnswerSpans((), ())
    own = spec("answer.v1", "span", (), input="pair")
    found = fit(labelled(logits, [word if random.uniform() < 0.8 else none for _ in logits]), own)
    assert found.spec.temperature[0] > 2
    assert found.reliability.after["ece"] < 0.7 * found.reliability.before["ece"]


@pytest.mark.parametrize(
    ("texts", "remark"),
    [
        pytest.param(drawn(3, texts=1), "50 texts, spans or answers are needed, found 1", id="one"),
        pytest.param(
            drawn(3, texts=5), "50 texts, spans or answers are needed, found 5", id="five"
        ),
        pytest.param(
            drawn(3, texts=20), "50 texts, spans or answers are needed, found 20", id="twenty"
        ),
        pytest.param(
            [text for text in drawn(3) if decided(text) == text.reference],
            "all .* decisions are right",
            id="all_right",
        ),
        pytest.param(
            [text for text in drawn(3) if decided(text) != text.reference],
            "all .* decisions are wrong",
            id="all_wrong",
        ),
        pytest.param(
            [text for text in drawn(3) if text.reference == "b"],
            "all texts have one label",
            id="one_label",
        ),
        pytest.param(drawn(1.0, texts=400), "no temperature helps texts", id="honest_already"),
    ],
)
def test_where_nothing_can_be_known_there_is_none_and_it_is_said(texts, remark):
    found = fit(texts)
    assert found.spec == spec()
    assert found.reliability.before == found.reliability.after
    assert re.search(remark, found.reliability.remark)
    assert found.reliability.remark in summary("topic", found.spec, found.reliability)


def test_texts_that_the_model_was_trained_on_give_none():
    found = fit(drawn(3), split="train")
    assert found.spec.temperature is None
    assert "no validation texts" in found.reliability.remark


@pytest.mark.parametrize(
    ("size", "wrong", "bound"),
    [(300.0, 0.5, temperatures.HIGHEST), (1e-3, 0.01, temperatures.LOWEST)],
    ids=["too_sure", "too_unsure"],
)
def test_a_temperature_that_runs_away_stops_at_its_bound_and_is_named(size, wrong, bound):
    random = np.random.default_rng(0)
    own = random.integers(2, size=400)
    true = np.where(random.uniform(size=400) < wrong, 1 - own, own)
    found = fit(labelled(size * np.eye(2)[own], [LABELS[i] for i in true]), spec(labels=("a", "b")))
    assert found.spec.temperature == (bound,)
    assert "ran to its bound" in found.reliability.remark


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_scores_that_are_not_finite_say_nothing(wrong):
    texts = drawn(3, texts=100)
    texts[7] = LabelledLogits(np.full(5, wrong, np.float32), WORD, "a")
    assert fit(texts) is None


def test_a_head_without_scores_or_without_references_says_nothing():
    vector = LabelledLogits(np.ones(4, np.float32), WORD, None)
    assert fit([vector] * 60, spec("embedding.v1", "identity", ())) is None
    assert fit([]) is None
    outside = np.zeros((60, 3, 3))
    outside[:, :, 0] = 5
    assert fit(labelled(outside, [()] * 60), spec("tokens.v1", labels=("a",))) is None


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
    assert f"| topic | {found.spec.temperature[0]:.2f} | validation | 4000 |" in "\n".join(lines)
    none = fit(drawn(3.0, texts=20))
    lines = temperatures.section({"topic": none.reliability}, {"topic": none.spec})
    assert "- topic: no temperature: 50 texts, spans or answers are needed, found 20." in lines
    assert temperatures.section({}, {}) == []


@pytest.fixture(scope="module")
def too_sure(checkpoint, tmp_path_factory):
    """A checkpoint whose topics are right in two texts of three, with scores near 1; its data."""
    folder = tmp_path_factory.mktemp("too_sure")
    own = checkpoints.load(checkpoint)
    for weights in own.model.networks["topic"].projection.parameters():
        weights.data *= 10
    texts = [f"{n} parcels to {place} were late" for n in range(60) for place in ("Oslo", "Rome")]
    random, splits = randoms.Random(0), {}
    labels = [prediction["topic"].label for prediction in own.engine().predict(texts)]
    for split in ("train", "validation", "test"):
        rows = [{"text": t, "topic": label} for t, label in zip(texts, labels, strict=True)]
        for row in rows:
            if random.random() < 0.5:
                row["topic"] = random.choice(["billing", "delivery", "praise"])
        splits[split] = str(folder / f"{split}.jsonl")
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines)
    config = own.description.config
    config = replace(
        config, data={"mail": DataConfig(**splits)}, heads={"topic": config.heads["topic"]}
    )
    (folder / "checkpoint").mkdir()
    checkpoints.save(folder / "checkpoint", own, {})
    return folder / "checkpoint", config


@pytest.fixture(scope="module")
def settings(any_loss):
    return ExportSettings(limits=any_loss, heads=("topic",))


@pytest.fixture(scope="module")
def tempered_bundle(too_sure, settings, tmp_path_factory):
    checkpoint, config = too_sure
    target = tmp_path_factory.mktemp("tempered") / "bundle"
    export(checkpoint, target, settings, config=config)
    return target


def test_a_bundle_has_the_temperature_and_less_calibration_error(too_sure, tempered_bundle):
    manifest = bundles.read(tempered_bundle).manifest
    measured = manifest.reliability["topic"]
    assert manifest.heads["topic"].temperature[0] > 2
    assert measured.after["ece"] < measured.before["ece"] / 2
    without = replace(manifest.heads["topic"], temperature=None)
    assert without == checkpoints.describe(too_sure[0]).heads["topic"]
    page = (tempered_bundle / "README.md").read_text()
    assert f"| topic | {manifest.heads['topic'].temperature[0]:.2f} |" in page


def test_its_golden_answers_are_at_the_temperature(tempered_bundle):
    found = verify(tempered_bundle)
    assert found.passed
    assert all(check.reproduced for check in found.heads)


def test_evaluate_shows_what_the_temperature_does_to_other_texts(too_sure, tempered_bundle):
    checkpoint, config = too_sure
    test_set = examples.load(config, "test")
    before = evaluate(checkpoints.load(checkpoint).engine(), test_set)["topic"].figures
    with polyhead.load(tempered_bundle) as engine:
        after = evaluate(engine, test_set)["topic"].figures
    assert after["ece"] < before["ece"]
    assert after["log_loss"] < before["log_loss"]


def test_a_deployed_head_keeps_its_temperature(too_sure, tempered_bundle, settings, tmp_path):
    checkpoint, config = too_sure
    again = replace(settings, calibrated_as=tempered_bundle)
    export(checkpoint, tmp_path / "next", again, config=config)
    before, after = (bundles.read(p).manifest for p in (tempered_bundle, tmp_path / "next"))
    assert after.heads == before.heads
    assert after.reliability == before.reliability


def test_texts_without_labels_give_no_temperature(too_sure, settings, tmp_path):
    given = [examples.Example(f"t:{n}", "t", f"parcel {n} was late", {}) for n in range(200)]
    export(too_sure[0], tmp_path / "bundle", settings, examples=(given[::2], given[1::2]))
    manifest = bundles.read(tmp_path / "bundle").manifest
    assert manifest.reliability == {}
    assert manifest.heads["topic"].temperature is None
