"""Label sets and numbers go through the export like every other head."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import polyhead
from polyhead import bundle as bundles
from polyhead.system.schema import plain
from polyhead.verify.golden import verify
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import HeadConfig
from polyhead_models.data import examples
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train

HEADS = {
    "tags": HeadConfig(kind="multilabel", data="mail", target="tags"),
    "days": HeadConfig(kind="regression", data="mail", target="days", hidden=(16,)),
}


@pytest.fixture(scope="module")
def learnt(make_config, tmp_path_factory):
    """A checkpoint with both heads, on the rows of the other export tests with targets added."""
    folder = tmp_path_factory.mktemp("sets_and_numbers")
    made = make_config(folder)
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for index, row in enumerate(rows):
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


def test_a_bundle_gives_the_trained_models_golden_answers(bundle):
    found = verify(bundle)
    assert found.passed
    assert [check.head for check in found.heads] == ["tags", "days"]
    assert all(check.reproduced for check in found.heads)


def test_a_bundle_has_the_thresholds_and_the_scale_of_the_checkpoint(bundle, learnt):
    heads = bundles.read(bundle).manifest.heads
    assert heads == checkpoints.describe(learnt).heads
    assert len(heads["tags"].thresholds) == len(heads["tags"].labels) > 3
    assert heads["days"].scale[0] == pytest.approx(1003, abs=0.5)


def test_quality_is_measured_by_the_figures_of_the_kinds(bundle):
    quality = bundles.read(bundle).manifest.quality
    assert {name: q.metric for name, q in quality.items()} == {
        "tags": "micro_f1",
        "days": "pearson",
    }
    assert all(0.5 < q.agreement <= 1 for q in quality.values())
    assert all(0 < q.max_logit_error < 1 for q in quality.values())


def test_the_quality_of_the_checkpoint_is_that_of_its_tuned_heads(bundle, learnt):
    made = checkpoints.load(learnt)
    known = examples.load(made.description.config, "validation")
    found = evaluate(made.engine(), known)
    quality = bundles.read(bundle).manifest.quality
    for name, figures in found.items():
        assert quality[name].fp32 == pytest.approx(figures.value)


def test_the_float_bundle_answers_like_the_checkpoint(exported, learnt):
    made = checkpoints.load(learnt)
    known = examples.load(made.description.config, "test")
    texts = [e.text for e in known][:-1]  # the last is longer than the encoder reads
    with polyhead.load(exported("fp32")) as engine:
        found, expected = engine.predict(texts), made.engine().predict(texts)
    for one, other in zip(found, expected, strict=True):
        assert one["days"].value == pytest.approx(other["days"].value, abs=1e-3)
        assert one["tags"].scores == pytest.approx(other["tags"].scores, abs=1e-4)
    assert np.mean([p["days"].value for p in found]) == pytest.approx(1003, abs=6)


def test_a_prediction_is_plain_data_and_a_page(exported):
    with polyhead.load(exported("int8")) as engine:
        prediction = engine("The parcel to Oslo was 3 days late.")
    data = json.loads(json.dumps(prediction.to_dict(), allow_nan=False))
    assert set(data["heads"]["tags"]) == {"labels", "scores"}
    assert data["heads"]["days"] == {"value": prediction["days"].value}
    assert [line.split()[0] for line in str(prediction).splitlines()] == ["tags", "days"]


def test_the_manifest_writes_the_scale_as_two_numbers(exported):
    manifest = bundles.read(exported("int8")).manifest
    assert plain(manifest)["heads"]["days"]["scale"] == list(manifest.heads["days"].scale)
