import argparse
import dataclasses
import json

import numpy as np
import onnx_ir as ir
import pytest

from polyhead import bundle as bundles
from polyhead import load
from polyhead_export import rewrites
from polyhead_export.cli import probe as command
from polyhead_export.errors import ProbeError
from polyhead_export.layout import BUILT_IN
from polyhead_export.probe import probe, writing
from polyhead_export.probe.timing import session

OTHERS = [
    pytest.param(pattern, alternative, id=f"{pattern}-{alternative.name}")
    for pattern, known in rewrites.ALTERNATIVES.items()
    for alternative in known
    if alternative.name != BUILT_IN.choice(pattern)
]


@pytest.fixture
def graph(exported):
    return ir.load(exported("int8") / "model.int8.onnx")


@pytest.mark.parametrize(("pattern", "alternative"), OTHERS)
def test_an_alternative_finds_its_place_and_keeps_the_numbers(graph, pattern, alternative):
    feeds = {"input_ids": np.arange(5, 39, dtype=np.int64).reshape(2, 17)}
    before = session(graph).run(None, feeds)
    layout = dataclasses.replace(BUILT_IN, **{pattern: alternative.name})
    assert rewrites.apply(graph, layout)
    after = session(graph, alternative.keep_out).run(None, feeds)
    for one, other in zip(before, after, strict=True):
        allowed = 0.05 if alternative.exact else 0.5
        assert np.linalg.norm(one - other) <= allowed * np.linalg.norm(one)


def test_the_built_in_layout_is_known_and_changes_nothing(graph):
    assert not rewrites.apply(graph, BUILT_IN)


def test_every_alternative_is_timed_at_every_shape(graph):
    found = probe.probe(graph, shapes=[(1, 4), (2, 9)], rounds=2)
    assert len(found.timings) == 2 * sum(map(len, rewrites.ALTERNATIVES.values()))
    assert all(t.milliseconds > 0 for t in found.timings)


def test_nothing_wins_within_the_margin(graph):
    assert probe.probe(graph, shapes=[(1, 4)], rounds=2, margin=1.0).built_in_is_best


def test_a_float_graph_has_nothing_to_choose(exported):
    with pytest.raises(ProbeError, match="--precision int8"):
        probe.probe(ir.load(exported("fp32") / "model.fp32.onnx"))


def test_a_bundle_in_another_layout_gives_the_same_decisions(exported, tmp_path):
    bundle = bundles.read(exported("int8"))
    layout = dataclasses.replace(BUILT_IN, norm="SkipLayerNormalization")
    manifest = writing.write(bundle, tmp_path / "other", layout)
    assert manifest.provenance["layout"]["norm"] == "SkipLayerNormalization"
    assert manifest.provenance["quality_measured_on"] == writing.int8_graph(bundle).sha256
    assert manifest.certificate.passed
    with pytest.raises(ProbeError, match="SkipLayerNormalization"):
        writing.require_built_in(bundles.read(tmp_path / "other"))
    with load(bundle.path) as old, load(tmp_path / "other") as new:
        text = "Thanks, 4 stars from Rome!"
        assert old(text)["topic"].label == new(text)["topic"].label


def test_the_command_tells_timings_as_json(exported, capfd):
    parser = argparse.ArgumentParser()
    command.configure(parser)
    words = [str(exported("int8")), "--tokens", "4", "--rounds", "2", "--json"]
    assert command.execute(parser.parse_args(words)) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["built_in"] == dataclasses.asdict(BUILT_IN)
    assert found["onnxruntime"]
