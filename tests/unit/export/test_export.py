import json
import math
import re
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from polyhead import bundle as bundles
from polyhead import load
from polyhead.bundle.digest import sha256
from polyhead.errors import BundleError
from polyhead.verify.golden import verify
from polyhead_export.card import card
from polyhead_export.card_facts import CardFacts
from polyhead_export.errors import WeightsError
from polyhead_export.golden import write_golden
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints
from polyhead_models import evaluation
from polyhead_models.data import examples
from polyhead_models.errors import CheckpointError, DataError
from polyhead_models.metrics.labels import label_report

NAMES = ["topic", "first", "highest", "entities", "embedding"]
FP32 = ExportSettings(precision="fp32")


@pytest.fixture(params=["fp32", "int8"])
def bundle(exported, request):
    return bundles.read(exported(request.param))


@pytest.fixture
def own_checkpoint(checkpoint, tmp_path):
    """A checkpoint and its data, to damage."""
    folder = tmp_path / "own"
    shutil.copytree(checkpoint.parent, folder)
    file = folder / "checkpoint" / "polyhead.json"
    file.write_text(file.read_text().replace(str(checkpoint.parent), str(folder)))
    return folder / "checkpoint"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundle_gives_the_trained_models_golden_answers(bundle):
    found = verify(bundle.path)
    assert found.passed
    assert [check.head for check in found.heads] == NAMES


def test_a_float_bundle_has_the_checkpoints_figures_label_by_label(exported, checkpoint):
    rows = examples.load(checkpoints.describe(checkpoint).config, "test")
    engines = checkpoints.load(checkpoint).engine(), load(exported("fp32"))
    for head in ("topic", "entities"):
        trained, bundle = (
            label_report(
                engine.heads[head].labels,
                [row.result for row in results],
                [row.reference for row in results],
            )
            for engine in engines
            for results in [evaluation.ask(engine, rows, label="test")[head]]
        )
        assert trained == bundle
        assert any(figures.support for figures in trained.labels.values())


def test_a_bundle_holds_one_graph_and_nothing_but_its_files(bundle):
    (graph,) = bundle.manifest.graphs
    files = {entry.file for entry in bundle.manifest.files}
    assert {path.name for path in bundle.path.iterdir()} == {"manifest.json", *files}
    assert graph.file == f"model.{graph.precision}.onnx"
    assert graph.target == {"fp32": "onnx", "int8": "ort-cpu"}[graph.precision]


def test_quality_is_measured_for_every_head_on_the_validation_split(bundle):
    quality = bundle.manifest.quality
    assert list(quality) == NAMES
    for name, found in quality.items():
        assert (found.split, found.texts) == ("validation", 16)
        assert 0.8 <= found.agreement <= 1
        assert 0 < found.mean_logit_error < found.max_logit_error < 1
        assert 0 <= found.changed <= 0.2
        assert (found.metric is None) == (name == "embedding")


def test_the_float_graph_reaches_the_figures_of_the_model(exported):
    for found in bundles.read(exported("fp32")).manifest.quality.values():
        assert found.exported == found.fp32
        assert found.agreement == pytest.approx(1)
        assert found.changed == pytest.approx(0, abs=1e-6)
        assert found.max_logit_error < 1e-4


def test_provenance_names_what_the_bundle_was_made_from(bundle, checkpoint):
    facts = bundle.manifest.provenance
    data = {
        f"mail.{split}": sha256(checkpoint.parent / f"{split}.jsonl")
        for split in ("train", "validation")
    }
    assert facts["checkpoint_sha256"] == sha256(checkpoint / "model.safetensors")
    assert facts["data_sha256"] == data
    assert facts["training_config_sha256"] == checkpoints.describe(checkpoint).config.fingerprint
    assert facts["settings"] == {"precision": bundle.manifest.graphs[0].precision, "seed": 0}


def test_provenance_has_the_versions_of_the_libraries(bundle):
    found = bundle.manifest.provenance["versions"]
    assert {"polyhead", "torch", "transformers", "onnx", "onnxruntime"} <= found.keys()
    assert all(found[name] == version(name) for name in found)


def test_provenance_tells_of_calibration_where_there_was_one(exported):
    facts = {p: bundles.read(exported(p)).manifest.provenance for p in ("fp32", "int8")}
    assert "calibration" not in facts["fp32"]
    calibration = facts["int8"]["calibration"]
    assert (calibration["texts"], calibration["seed"]) == (31, 0)
    assert len(calibration["sha256"]) == 64


def test_the_golden_set_is_the_empty_text_and_at_most_twelve_others(bundle):
    texts = [example.text for example in bundle.golden().examples]
    assert "" in texts
    assert 12 <= len(set(texts)) == len(texts) <= 13


def test_golden_logits_are_the_trained_models(bundle, checkpoint):
    examples = bundle.golden().examples
    expected = checkpoints.load(checkpoint).engine().logits([e.text for e in examples])
    for head, rows in expected.items():
        for example, row in zip(examples, rows, strict=True):
            np.testing.assert_allclose(np.array(example.logits[head]), row, atol=1e-5)


def test_golden_texts_that_the_encoder_would_cut_are_left_out(checkpoint, tmp_path):
    engine = checkpoints.load(checkpoint).engine()
    write_golden(tmp_path / "golden.json", engine, {"g": engine}, ["", "late " * 99, "late"])
    examples = json.loads((tmp_path / "golden.json").read_text())["examples"]
    assert [example["text"] for example in examples] == ["", "late"]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_each_heads_figures(bundle, name):
    lines = (bundle.path / "README.md").read_text().splitlines()
    described, *others = (line for line in lines if line.startswith(f"| {name} |"))
    spec, found = bundle.manifest.heads[name], bundle.manifest.quality[name]
    assert f"| {spec.kind} |" in described
    labels = next((line for line in lines if line.startswith(f"**{name}**: ")), "")
    assert labels.partition(": ")[2] == ", ".join(spec.labels)
    figures = [x for x in (found.fp32, found.exported, found.agreement) if x is not None]
    measured = next(row for row in others if f"| {found.drop_text} |" in row)
    assert all(f" {figure:.4f} |" in measured for figure in figures)


def test_the_card_tells_the_gate_and_the_certificate_and_shows_the_picture(bundle):
    page, manifest = (bundle.path / "README.md").read_text(), bundle.manifest
    first = {"fp32": "fp32", "int8": "static scales"}[manifest.graphs[0].precision]
    assert f"\n| {first} |" in page
    assert "batches of 1, 8 and 64" in page
    assert f"({manifest.picture.file})" in page
    assert bundle.file(manifest.picture).read_bytes().startswith(b"\x89PNG")


def test_a_bar_in_a_label_does_not_break_the_tables_of_the_card(bundle):
    manifest = bundle.manifest
    heads = {"a|b": replace(manifest.heads["topic"], labels=("yes|no", "maybe", "never"))}
    shown = replace(
        manifest,
        graphs=tuple(replace(graph, heads=("a|b",)) for graph in manifest.graphs),
        heads=heads,
        quality={"a|b": manifest.quality["topic"]},
        reliability={},
    )
    page = card(shown, CardFacts())
    rows = [line for line in page.splitlines() if line.startswith("| a")]
    assert len(rows) == 3
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows[:2]] == [5, 13]
    assert r"**a\|b**: yes\|no, maybe, never" in page


def test_the_certificate_is_what_verify_measures_again(bundle):
    found = bundle.manifest.certificate
    assert (found.texts, found.max_difference) == (6, 0)
    assert verify(bundle.path, stability=True).stability == found


def test_the_same_checkpoint_gives_the_same_bytes(exported, checkpoint, any_loss, tmp_path):
    export(checkpoint, tmp_path / "again", ExportSettings(precision="int8", limits=any_loss))
    assert contents(tmp_path / "again") == contents(exported("int8"))


def _data_gone(checkpoint):
    (checkpoint.parent / "train.jsonl").unlink()


def _data_changed(checkpoint):
    with (checkpoint.parent / "validation.jsonl").open("a") as lines:
        lines.write("\n")


def _no_weights(checkpoint):
    (checkpoint / "model.safetensors").unlink()


def _weight_is_nan(checkpoint):
    file = checkpoint / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    weights["heads.head_topic.projection.1.bias"][0] = math.nan
    safetensors.torch.save_file(weights, file)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        pytest.param(_data_gone, DataError, r"is gone: .*train\.jsonl", id="data_gone"),
        pytest.param(_data_changed, DataError, "has changed: .*--config", id="data_changed"),
        pytest.param(_no_weights, CheckpointError, "no such file", id="no_weights"),
        pytest.param(
            _weight_is_nan, WeightsError, "heads.head_topic.projection.1.bias: found NaN", id="nan"
        ),
    ],
)
def test_a_failing_export_leaves_the_old_bundle_and_nothing_else(
    own_checkpoint, exported, tmp_path, damage, error, message
):
    target = tmp_path / "place" / "bundle"
    shutil.copytree(exported("fp32"), target)
    before = contents(target)
    damage(own_checkpoint)
    with pytest.raises(error, match=message):
        export(own_checkpoint, target, ExportSettings())
    assert contents(target) == before
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]


def test_a_folder_of_something_else_is_left_as_it_is(checkpoint, tmp_path):
    target = tmp_path / "place" / "thesis"
    target.mkdir(parents=True)
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="not a bundle"):
        export(checkpoint, target, FP32)
    assert contents(target) == {"thesis.txt": b"years of work"}
    assert [path.name for path in target.parent.iterdir()] == ["thesis"]


def test_a_config_names_other_data_without_a_test_split_and_an_older_bundle_is_replaced(
    own_checkpoint, make_config, exported, tmp_path
):
    target, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    shutil.copytree(exported("int8"), target)
    elsewhere.mkdir()
    _data_gone(own_checkpoint)
    config = make_config(elsewhere)
    (elsewhere / "test.jsonl").unlink()
    export(own_checkpoint, target, FP32, config=config)
    assert bundles.read(target).manifest.graphs[0].precision == "fp32"
    assert not (target / "model.int8.onnx").exists()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_label_of_other_data_that_the_checkpoint_never_saw_may_be_an_error(
    checkpoint, make_config, tmp_path, split
):
    made = make_config(tmp_path)
    file = tmp_path / f"{split}.jsonl"
    first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps({**json.loads(first), "topic": "prase"}), *rest]))
    heads = {**made.heads, "topic": replace(made.heads["topic"], unseen="error")}
    message = rf"{split}\.jsonl:1: head 'topic': no row that it learns from has the label 'prase'"
    with pytest.raises(DataError, match=message + r".*Correct this row, .* \[heads\.topic\], or"):
        export(checkpoint, tmp_path / "bundle", FP32, config=replace(made, heads=heads))
    assert not (tmp_path / "bundle").exists()


def test_the_card_begins_with_what_a_hub_reads_and_tells_data_and_examples(bundle):
    head, page = (bundle.path / "README.md").read_text().split("\n---\n", 1)
    assert head.startswith("---\nbase_model:") or head.startswith("---\nlibrary_name: polyhead")
    assert "model-index:" in head
    assert re.search(r"\n\| mail \| \d+ \| 16 \|\n", page)
    assert page.count("\n> “") == 3
    assert re.search(r"\n- topic: \w+ +\d\.\d\d\n", page)
    assert str(bundle.path.parent) not in head + page


def test_the_card_has_the_test_figures_of_the_exported_graph(own_checkpoint, tmp_path):
    file = own_checkpoint / "polyhead.json"
    description = json.loads(file.read_text())
    source = description["config"]["data"]["mail"]
    rows = Path(source["validation"]).read_text()
    unseen = {**json.loads(rows.splitlines()[0]), "topic": "unheard of"}
    source["test"] = str(tmp_path / "test.jsonl")
    (tmp_path / "test.jsonl").write_text(f"{rows}\n{json.dumps(unseen)}\n")
    description["config"]["card"] = {"license": "mit", "language": ["en"]}
    file.write_text(json.dumps(description))
    manifest = export(own_checkpoint, tmp_path / "bundle", FP32)
    page = (tmp_path / "bundle" / "README.md").read_text()
    assert "On the test split, this graph:" in page
    assert "license: mit" in page
    value = manifest.quality["topic"].exported
    assert f"| topic | 16 | accuracy | {value:.4f} |" in page
    assert "split: test" in page.split("\n---\n")[0]


def test_a_test_split_that_is_gone_does_not_stop_an_export(own_checkpoint, tmp_path, caplog):
    file = own_checkpoint / "polyhead.json"
    description = json.loads(file.read_text())
    description["config"]["data"]["mail"]["test"] = str(tmp_path / "gone.jsonl")
    file.write_text(json.dumps(description))
    with caplog.at_level("INFO"):
        export(own_checkpoint, tmp_path / "bundle", FP32)
    assert "no test figures for the model card" in caplog.text
