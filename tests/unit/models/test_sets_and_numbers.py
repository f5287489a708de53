"""Label sets and numbers all the way: rows, training, checkpoint, figures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from polyhead.heads import decoder
from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.data.examples import Example
from polyhead_models.errors import DataError
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train
from polyhead_models.training.run import tuned

NO_OTHERS = dict.fromkeys(("topic", "entities", "embedding"))
HEADS = {
    "tags": {"kind": "multilabel", "data": "messages", "target": "tags", "dropout": 0.0},
    "weight": {"kind": "regression", "data": "messages", "target": "weight", "dropout": 0.0},
}
WORDS = ("late", "thanks", "oslo", "not", "parcel")


def row(number):
    """The words whose bits are set: the first three are labels; the number has all five."""
    bits = [bool(number >> bit & 1) for bit in range(5)]
    text = " ".join(word for word, bit in zip(WORDS, bits, strict=True) if bit) or "the"
    weight = 1000 + 3 * (np.dot(bits, (2, -1, 1, 0.5, -2)) - 0.25) / 1.6
    tags = [word for word, bit in zip(WORDS[:3], bits, strict=False) if bit]
    return {"text": text, "tags": tags, "weight": round(float(weight), 3)}


ROWS = [row(number) for number in range(32)]


@pytest.fixture(scope="module")
def make(write_config, write_rows):
    """`make(folder, rows, heads=…)`: a configuration over rows for training and validation."""

    def write(folder, rows=ROWS, validation=ROWS[::3], **changes):
        changes["heads"] = {**NO_OTHERS, **HEADS, **changes.get("heads", {})}
        path = write_config(folder, **changes)
        write_rows(folder / "data" / "train.jsonl", rows)
        write_rows(folder / "data" / "validation.jsonl", validation)
        return config.load(path)

    return write


@pytest.fixture(scope="module")
def finished(make, tmp_path_factory):
    """Configuration, checkpoint and metrics of a run that learnt its 32 rows."""
    folder = tmp_path_factory.mktemp("finished")
    made = make(folder, training={"epochs": 60, "learning_rate": 5e-3})
    done = train(made, folder / "checkpoint")
    return made, checkpoint.load(done.path), done.metrics


def test_a_tiny_encoder_learns_its_rows_by_heart(finished):
    made, learnt, _ = finished
    found = evaluate(learnt.engine(), examples.load(made, "train"))
    assert (found["tags"].metric, found["weight"].metric) == ("micro_f1", "pearson")
    assert found["tags"].value > 0.95
    assert found["weight"].value > 0.95


def test_numbers_come_back_in_the_users_unit(finished):
    _, learnt, _ = finished
    weights = np.array([r["weight"] for r in ROWS])
    assert weights.mean() == pytest.approx(1000, abs=0.5)
    assert weights.std() == pytest.approx(3, abs=0.5)
    offset, factor = learnt.model.specs["weight"].scale
    assert (offset, factor) == pytest.approx((weights.mean(), weights.std()))
    found = np.array([learnt.engine()(r["text"])["weight"].value for r in ROWS])
    assert np.abs(found - weights).mean() < 1


def test_thresholds_are_those_of_the_validation_rows(finished):
    made, learnt, _ = finished
    network = learnt.model.networks["tags"]
    known = examples.load(made, "validation")
    results = [p["tags"] for p in learnt.engine().predict([e.text for e in known])]
    found = network.tuned(network.spec, results, [e.references["tags"] for e in known])
    assert found.thresholds == network.spec.thresholds
    assert len(network.spec.thresholds) == 3


def test_a_checkpoint_keeps_thresholds_and_scale_to_the_bit(finished, tmp_path):
    _, learnt, _ = finished
    checkpoint.save(tmp_path, learnt, {})
    again = checkpoint.load(tmp_path)
    assert again.model.specs == again.description.heads == learnt.model.specs


def test_the_metrics_are_those_of_the_tuned_model(make, tmp_path):
    # A run this short leaves probabilities that one half does not part.
    done = train(make(tmp_path, training={"epochs": 2}), tmp_path / "checkpoint")
    learnt = checkpoint.load(done.path)
    assert set(learnt.model.specs["tags"].thresholds) != {0.5}
    known = examples.load(learnt.description.config, "validation")
    found = evaluate(learnt.engine(), known)["tags"]
    assert done.metrics["validation"]["tags"]["figures"] == found.figures
    learnt.model.networks["tags"].spec = replace(learnt.model.specs["tags"], thresholds=None)
    assert evaluate(learnt.engine(), known)["tags"].value < found.value


def test_tuning_replaces_the_specs_of_model_and_description(finished):
    made, learnt, _ = finished
    plain = {**learnt.model.specs, "tags": replace(learnt.model.specs["tags"], thresholds=None)}
    model = checkpoint.assemble(learnt.model.encoder, plain, made.heads).eval()
    description = replace(learnt.description, heads=plain)
    before = replace(learnt, model=model, description=description)
    after = tuned(before, examples.load(made, "validation"))
    assert after.model.specs == after.description.heads
    assert after.description.heads["tags"].thresholds is not None
    assert after.description.heads["weight"] == plain["weight"]


@pytest.mark.parametrize(
    "validation", [[], [Example("a:1", "a", "late", {"weight": 1.0})]], ids=["none", "of_others"]
)
def test_without_references_a_head_stays_as_it_is(finished, validation):
    _, learnt, _ = finished
    assert tuned(learnt, validation).description == learnt.description


def test_rows_may_lack_either_target(make, tmp_path):
    rows = [{key: r[key] for key in ("text", name)} for name in HEADS for r in ROWS[:20]]
    done = train(make(tmp_path, rows=rows, training={"epochs": 1}), tmp_path / "checkpoint")
    known = [r["weight"] for r in ROWS[:20]]
    spec = checkpoint.describe(done.path).heads["weight"]
    assert spec.scale == pytest.approx((np.mean(known), np.std(known)))
    weights = checkpoint.load(done.path).model.state_dict()
    assert all(bool(torch.isfinite(values).all()) for values in weights.values())


def test_decoders_give_the_probabilities_and_units_of_torch(finished):
    _, learnt, _ = finished
    texts = [r["text"] for r in ROWS]
    logits = learnt.engine().logits(texts)
    predictions = learnt.engine().predict(texts)
    specs = learnt.model.specs
    offset, factor = specs["weight"].scale
    for index, prediction in enumerate(predictions):
        tags, weight = (torch.from_numpy(logits[name][index]) for name in ("tags", "weight"))
        scores = torch.sigmoid(tags.double())
        assert list(prediction["tags"].scores.values()) == pytest.approx(scores.tolist(), abs=1e-12)
        reached = scores >= torch.tensor(specs["tags"].thresholds, dtype=torch.float64)
        assert [x in prediction["tags"].labels for x in specs["tags"].labels] == reached.tolist()
        value = weight.double().item() * factor + offset
        assert prediction["weight"].value == pytest.approx(value, rel=1e-12)
        assert decoder("tags", specs["tags"]).width == len(tags)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"tags": "late"}, "'tags': found 'late', expected a list", id="no_list"),
        pytest.param({"weight": "heavy"}, "'weight': found 'heavy', expected a finite", id="word"),
        pytest.param({"weight": float("nan")}, "'weight': found nan", id="nan"),
        pytest.param({"weight": True}, "'weight': found True", id="bool"),
    ],
)
def test_a_target_that_cannot_be_read_is_named(make, tmp_path, change, message):
    made = make(tmp_path, rows=[*ROWS, {**ROWS[0], **change}])
    with pytest.raises(DataError, match=rf"train\.jsonl:33: {message}"):
        examples.load(made, "train")


def test_rows_without_any_label_cannot_be_trained_on(make, tmp_path):
    made = make(tmp_path, rows=[{**r, "tags": []} for r in ROWS])
    with pytest.raises(DataError, match="head 'tags': no training row has a label"):
        train(made, tmp_path / "checkpoint")


def test_labels_that_people_read_as_one_cannot_be_trained_on(make, tmp_path):
    made = make(tmp_path, rows=[*ROWS, {**ROWS[0], "tags": ["late", "late "]}])
    with pytest.raises(
        DataError, match="head 'tags': labels: one is duplicated: 'late' and 'late '"
    ):
        train(made, tmp_path / "checkpoint")


def test_an_empty_list_is_a_reference_and_a_missing_one_is_none(make, tmp_path):
    rows = [{"text": "a", "tags": [], "weight": 1}, {"text": "b", "tags": None, "weight": 1}]
    found = examples.load(make(tmp_path, rows=[*ROWS, *rows]), "train")[32:]
    assert [e.references for e in found] == [{"tags": (), "weight": 1.0}, {"weight": 1.0}]


def test_labels_beside_words_are_no_tags_of_the_words(make, tmp_path):
    rows = [{"text": ["late", "in", "Oslo"], "tags": ["late", "thanks"], "weight": 1}]
    found = examples.load(make(tmp_path, rows=rows), "train")
    assert found[0].references["tags"] == ("late", "thanks")


def test_csv_has_sets_as_json_and_numbers_as_text(make, tmp_path):
    made = make(tmp_path)
    path = tmp_path / "data" / "train.csv"
    path.write_text('text,tags,weight\nhi,"[""late""]",2.5\nho,[],\n', encoding="utf-8")
    source = replace(made.data["messages"], train=str(path))
    found = examples.load(replace(made, data={"messages": source}), "train")
    assert [e.references for e in found] == [{"tags": ("late",), "weight": 2.5}, {"tags": ()}]
