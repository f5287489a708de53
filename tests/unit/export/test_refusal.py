"""A model that int8 hurts: the gate falls back, or refuses and leaves everything as it was."""

import json
import random
import re
import resource
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import safetensors.torch
import torch

from polyhead import bundle as bundles
from polyhead.cli.main import main
from polyhead.verify.golden import verify
from polyhead_export.gate import Limits
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import DataConfig, HeadConfig
from polyhead_models.errors import CheckpointError
from polyhead_models.training import train

CHANNEL = 3
HEADS = {
    "topic": HeadConfig(kind="classification", data="mail", target="topic"),
    "embedding": HeadConfig(kind="embedding"),
}

SENTENCES = (
    "Why was I billed {n} times in Oslo?",
    "The parcel to Rome was {n} days late.",
    "Thanks, {n} stars from Lima!",
    "{n} late parcels, thanks for {n} bills",
)
MAIL = tuple(sentence.format(n=n) for n in range(20, 120) for sentence in SENTENCES)
WORDS = " ".join(SENTENCES).split()
# Near ties count, and one change is too many.
NOTHING = Limits(max_drop=100.0, max_flips=0.0, tie_margin=0.0)
JUMBLED = tuple(" ".join(random.Random(n).choices(WORDS, k=3 + n % 9)) for n in range(400))


def weights(checkpoint):
    return safetensors.torch.load_file(checkpoint / "model.safetensors")


@pytest.fixture(scope="module")
def learnt(make_config, tmp_path_factory):
    """A checkpoint that knows its topics."""
    folder = tmp_path_factory.mktemp("learnt")
    made = make_config(folder)
    settings = replace(made.training, epochs=30, learning_rate=3e-3)
    config = replace(made, heads=HEADS, training=settings)
    return train(config, folder / "checkpoint").path


@pytest.fixture(scope="module")
def undecided(learnt, tmp_path_factory):
    """The same with a random head whose labels are equally likely: many decisions are narrow, so
    that whatever changes the logits changes some of them."""
    folder = tmp_path_factory.mktemp("undecided") / "checkpoint"
    shutil.copytree(learnt, folder)
    changed = weights(folder)
    weight, bias = (f"heads.head_topic.projection.1.{name}" for name in ("weight", "bias"))
    generator = torch.Generator().manual_seed(5)
    changed[weight] = torch.randn(changed[weight].shape, generator=generator)
    safetensors.torch.save_file(changed, folder / "model.safetensors")
    logits = checkpoints.load(folder).engine().logits(JUMBLED)["topic"]
    changed[bias] -= torch.from_numpy(np.vstack(logits).mean(axis=0))
    safetensors.torch.save_file(changed, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def outliers(learnt, tmp_path_factory):
    """The same, but one channel between the two linears of a feed-forward block is 60 times as
    large, and read with a 60th of the weight."""
    folder = tmp_path_factory.mktemp("outliers") / "checkpoint"
    shutil.copytree(learnt, folder)
    changed = weights(folder)
    for name, value in changed.items():
        if "layer.0.intermediate.dense" in name:
            value[CHANNEL] = value[CHANNEL] * 60
        if "layer.0.output.dense.weight" in name:
            value[:, CHANNEL] /= 60
    safetensors.torch.save_file(changed, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def own_answers(tmp_path_factory):
    """`own_answers(checkpoint, texts)`: validation texts with the model's own answers as
    references, so that each decision that changes costs accuracy."""

    @cache
    def label(checkpoint, texts=MAIL):
        loaded = checkpoints.load(checkpoint)
        rows = [
            {"text": text, "topic": prediction["topic"].label}
            for text, prediction in zip(texts, loaded.engine().predict(texts), strict=True)
        ]
        path = tmp_path_factory.mktemp("own") / "validation.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        config = loaded.description.config
        source = DataConfig(train=config.data["mail"].train, validation=str(path))
        return replace(config, data={"mail": source})

    return label


@pytest.fixture(scope="module")
def fallen_back(undecided, own_answers, any_loss, tmp_path_factory):
    """An export that may change just over half of the decisions that the fastest graph changes."""
    folder, config = tmp_path_factory.mktemp("fallen_back"), own_answers(undecided, JUMBLED)
    every = replace(any_loss, tie_margin=0)
    fastest = export(undecided, folder / "a", ExportSettings(limits=every), config=config)
    limits = replace(every, max_flips=60 * (fastest.quality["topic"].changed or 0.0))
    settings = ExportSettings(precision="int8", limits=limits)
    export(undecided, folder / "b", settings, config=config)
    return bundles.read(folder / "b")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_learnt_model_passes_with_the_fastest_graph(learnt, own_answers, tmp_path):
    found = export(learnt, tmp_path / "b", ExportSettings(), config=own_answers(learnt))
    assert [a.name for a in found.gate.attempts] == ["static scales"]


def test_an_outlying_channel_is_smoothed_and_the_fastest_graph_passes(
    outliers, own_answers, tmp_path
):
    # The references are the model's own answers, so that a changed near tie is a lost point.
    settings = ExportSettings(limits=Limits(max_drop=2.0))
    found = export(outliers, tmp_path / "b", settings, config=own_answers(outliers))
    assert [attempt.name for attempt in found.gate.attempts] == ["static scales"]
    alphas = found.provenance["calibration"]["alphas"]
    assert sum(alpha is not None for alpha in alphas.values()) > 0


def test_a_model_that_int8_hurts_makes_the_gate_fall_back_and_the_limits_are_met(fallen_back):
    gate, quality = fallen_back.manifest.gate, fallen_back.manifest.quality
    first = gate.attempts[0]
    assert first.verdict("topic") != "pass"
    assert not gate.attempt.failed
    assert gate.fp32 or gate.per_row
    assert 100 * quality["topic"].changed <= gate.max_flips < first.changed["topic"]


def test_the_manifest_names_linears_of_the_graph(fallen_back):
    graph = bundles.read(fallen_back.path).manifest.gate
    assert all(name.startswith("encoder.") for name in (*graph.fp32, *graph.per_row))


@pytest.fixture
def older(exported, tmp_path):
    """A bundle in the place of the next one."""
    return shutil.copytree(exported("fp32"), tmp_path / "place" / "bundle")


def test_where_nothing_may_be_lost_the_command_refuses_and_an_older_bundle_stays(
    undecided, older, tmp_path, capfd
):
    before = contents(older)
    (tmp_path / "texts.txt").write_text("\n".join(JUMBLED))
    words = ["export", str(undecided), "-o", str(older), "--precision", "int8"]
    words += ["--max-flips", "0", "--max-drop", "100", "--tie-margin", "0"]
    assert main([*words, "--texts", str(tmp_path / "texts.txt"), "--calibration-texts", "4"]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    for part in ("no graph keeps every head within", "static scales", "fp32 for the worst"):
        assert part in said.err
    assert re.search(r"--precision int8 --max-flips [\d.]+ takes it", said.err)
    assert contents(older) == before
    assert [path.name for path in older.parent.iterdir()] == ["bundle"]


def test_by_default_the_float_graph_is_taken_then_and_no_trace_of_int8_is_left(
    undecided, own_answers, tmp_path, caplog
):
    caplog.set_level("INFO", logger="polyhead_export")
    config = own_answers(undecided, JUMBLED)
    settings = ExportSettings(limits=NOTHING, also=("onnx", "fp32"))
    manifest = export(undecided, tmp_path / "bundle", settings, config=config)
    found = bundles.read(tmp_path / "bundle")
    assert [graph.file for graph in manifest.graphs] == ["model.fp32.onnx"]
    for said in (
        "onnx adds nothing: model.fp32.onnx is standard ONNX",
        "fp32 adds nothing: model.fp32.onnx is fp32",
    ):
        assert f"--also {said} itself" in caplog.messages
    files = {"manifest.json", *(entry.file for entry in found.manifest.files)}
    assert {path.name for path in found.path.iterdir()} == files
    assert manifest.calibration is None
    assert manifest.gate.attempt.name == "fp32"
    assert manifest.gate.attempts[0].failed == ("topic",)
    assert verify(found.path).passed
    [sentence] = [m for m in caplog.messages if m.startswith("taken: fp32, since int8 fails for")]
    assert re.search(r"A text takes \d+\.\d\d times the CPU time of static scales\.$", sentence)


@pytest.mark.parametrize("texts", [1, 5, 20])
def test_few_texts_make_a_bundle_that_is_called_uncertain(learnt, own_answers, texts, tmp_path):
    found = export(
        learnt, tmp_path / "bundle", ExportSettings(), config=own_answers(learnt, MAIL[:texts])
    )
    assert found.graphs[0].precision == "int8"
    assert set(found.gate.attempt.uncertain) == set(HEADS)
    page = (tmp_path / "bundle" / "README.md").read_text()
    assert (
        f"- embedding: uncertain. Changed decisions 0 of {found.quality['embedding'].decisions}"
        in page
    )


def test_the_float_graph_passes_where_nothing_may_be_lost(undecided, own_answers, tmp_path):
    settings = ExportSettings(precision="fp32", limits=Limits(max_drop=0.0, max_flips=0.001))
    found = export(
        undecided,
        tmp_path / "bundle",
        settings,
        config=own_answers(undecided, JUMBLED),
    )
    assert [a.name for a in found.gate.attempts] == ["fp32"]


def test_a_head_at_chance_is_said_to_be_and_goes_by_its_decisions(
    learnt, any_loss, tmp_path, caplog
):
    """All validation rows have one topic, which a constant answer gets right, too."""
    config = checkpoints.describe(learnt).config
    path = tmp_path / "validation.jsonl"
    rows = [{"text": f"Thanks, {n} stars from Lima!", "topic": "praise"} for n in range(9)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    source = DataConfig(train=config.data["mail"].train, validation=str(path))
    caplog.set_level("INFO", logger="polyhead_export")
    found = export(
        learnt,
        tmp_path / "bundle",
        ExportSettings(limits=any_loss),
        config=replace(config, data={"mail": source}),
    )
    assert found.quality["topic"].at_chance
    assert "topic" not in found.gate.attempt.drop
    assert "topic" in found.gate.attempt.changed
    [remark] = [m for m in caplog.messages if "no better than an answer" in m]
    assert f"- {remark}" in (tmp_path / "bundle" / "README.md").read_text()


def test_a_full_disk_in_the_middle_leaves_the_old_bundle(checkpoint, older, capfd):
    """The limit of a file's size stands for the disk: the graph does not fit, the rest would."""
    before = contents(older)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, usual[1]))
    try:
        code = main(["export", str(checkpoint), "-o", str(older)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    said = capfd.readouterr().err
    assert code == 1
    assert "tracing encoder and heads" in said
    assert said.splitlines()[-1].startswith("polyhead export: [Errno 27] File too large")
    assert contents(older) == before
    assert [path.name for path in older.parent.iterdir()] == ["bundle"]


def test_a_checkpoint_of_a_newer_version_is_refused(checkpoint, older, tmp_path):
    newer = shutil.copytree(checkpoint, tmp_path / "newer")
    description = json.loads((newer / "polyhead.json").read_text())
    description |= {"version": 2, "brand": "new"}
    (newer / "polyhead.json").write_text(json.dumps(description))
    before = contents(older)
    with pytest.raises(CheckpointError, match="format version 2; this polyhead reads up to 1"):
        export(newer, older, ExportSettings())
    assert contents(older) == before
