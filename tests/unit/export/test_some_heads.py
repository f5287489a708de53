"""Some heads only: the graph ends at the deepest layer that is read, and answers as the whole."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

import polyhead
from polyhead import bundle as bundles
from polyhead.cli.main import main
from polyhead.errors import UnknownHead
from polyhead.inference.session import OnnxSession
from polyhead.verify.golden import verify
from polyhead_export.pipeline import export
from polyhead_export.selection import chosen, select
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.config import HeadConfig

TOPIC = {"kind": "classification", "data": "mail", "target": "topic"}
HEADS = {
    "queue": HeadConfig(**TOPIC),
    "intent": HeadConfig(**TOPIC, layers=3),
    "places": HeadConfig(kind="tokens", data="mail", target="entities", layers=-3),
}
TEXT = "Why was I billed 3 times in Oslo?"


@pytest.fixture(scope="module")
def deep(checkpoint, tmp_path_factory):
    """A checkpoint of six layers, whose heads read three of them."""
    known = checkpoints.load(checkpoint)
    encoder = encoders.build({**known.description.encoder, "num_hidden_layers": 6})
    of = {"queue": "topic", "intent": "topic", "places": "entities"}
    specs = {
        name: replace(known.model.specs[of[name]], output=f"logits/{name}", layers=head.layers)
        for name, head in HEADS.items()
    }
    model = checkpoints.assemble(encoder, specs, HEADS).eval()
    config = replace(known.description.config, heads=HEADS)
    description = replace(
        known.description, encoder=encoder.config.to_dict(), heads=specs, config=config
    )
    folder = tmp_path_factory.mktemp("deep")
    checkpoints.save(folder, replace(known, model=model, description=description), {})
    return folder


@pytest.fixture(scope="module")
def whole(deep, tmp_path_factory, any_loss):
    target = tmp_path_factory.mktemp("whole") / "bundle"
    parts = (("intent",), ("places", "intent"))
    settings = ExportSettings(precision="int8", also_heads=parts, limits=any_loss)
    export(deep, target, settings)
    return bundles.read(target)


def attention(path):
    return sum(node.op_type == "Attention" for node in ir.load(path).graph)


@pytest.fixture(scope="module")
def float_bundles(deep, tmp_path_factory):
    """All heads, and two of them with a further graph for one."""
    folder = tmp_path_factory.mktemp("float")
    words = ["export", str(deep), "--precision", "fp32"]
    assert main([*words, "-o", str(folder / "all")]) == 0
    words += ["--heads", "places,intent", "--also-heads", "intent"]
    assert main([*words, "-o", str(folder / "some")]) == 0
    return bundles.read(folder / "all"), bundles.read(folder / "some")


def test_a_graph_ends_at_the_deepest_layer_that_is_read(float_bundles):
    _, some = float_bundles
    graphs = some.manifest.graphs
    assert [graph.file for graph in graphs] == ["model.fp32.onnx", "model.fp32.intent.onnx"]
    assert [graph.heads for graph in graphs] == [("intent", "places"), ("intent",)]
    assert [attention(some.file(graph)) for graph in graphs] == [4, 3]
    assert list(some.manifest.heads) == list(some.manifest.quality) == ["intent", "places"]


@pytest.mark.parametrize("heads", [("intent",), ("intent", "places")], ids=str)
def test_a_float_graph_of_some_heads_gives_the_bits_of_the_whole_graph(float_bundles, heads):
    all_heads, some = float_bundles
    with polyhead.load(all_heads.path) as whole, polyhead.load(some.path, heads=heads) as part:
        expected, found = whole.logits([TEXT, ""], heads=heads), part.logits([TEXT, ""])
    assert list(found) == list(heads)
    for head in heads:
        for a, b in zip(expected[head], found[head], strict=True):
            np.testing.assert_array_equal(a, b)


def test_int8_of_one_head_ends_there_too_and_passes_verification(deep, tmp_path, any_loss):
    settings = ExportSettings(precision="int8", heads=("intent",), limits=any_loss)
    manifest = export(deep, tmp_path / "bundle", settings)
    assert attention(tmp_path / "bundle" / manifest.graphs[0].file) == 3
    assert verify(tmp_path / "bundle").passed


def test_graphs_of_some_heads_stand_behind_the_whole_one(whole):
    first, *others = whole.manifest.graphs
    assert first.heads == tuple(HEADS)
    assert [graph.file for graph in others] == [
        "model.int8.intent.onnx",
        "model.int8.intent+places.onnx",
    ]
    assert [attention(whole.file(graph)) for graph in (first, *others)] == [6, 3, 4]
    assert [graph.heads for graph in others] == [("intent",), ("intent", "places")]
    assert others[0].size < 0.8 * first.size


def test_an_int8_graph_of_some_heads_gives_the_bits_of_the_whole_one(whole):
    ids = np.arange(5, 26).reshape(3, 7)
    first, *others = (OnnxSession(whole.file(graph)) for graph in whole.manifest.graphs)
    for session in others:
        expected = first.run(session.outputs, {"input_ids": ids})
        found = session.run(session.outputs, {"input_ids": ids})
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_every_graph_has_golden_tolerances_for_its_heads(whole):
    tolerance = whole.golden().tolerance
    assert {f: tuple(t) for f, t in tolerance.items()} == {
        graph.file: graph.heads for graph in whole.manifest.graphs
    }
    assert tolerance["model.int8.intent.onnx"]["intent"] == pytest.approx(
        tolerance["model.int8.onnx"]["intent"]
    )


def test_the_bundle_goes_on_working_as_before(whole):
    assert verify(whole.path).passed
    with polyhead.load(whole.path) as engine:
        assert list(engine(TEXT).results) == list(HEADS)


@pytest.mark.parametrize("heads", [("intend",), ("queue", "intend")], ids=str)
@pytest.mark.parametrize("setting", ["heads", "also_heads"])
def test_an_unknown_head_is_refused_with_the_nearest(deep, tmp_path, setting, heads):
    given = heads if setting == "heads" else (heads,)
    message = r"no head 'intend'; the checkpoint has queue, intent, places\. Did you mean 'intent'"
    with pytest.raises(UnknownHead, match=message):
        export(deep, tmp_path / "bundle", ExportSettings(**{setting: given}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "found"),
    [((), ("a", "b", "c")), (("c", "a"), ("a", "c")), (("b", "b"), ("b",))],
    ids=["none_named", "other_order", "named_twice"],
)
def test_heads_keep_their_order(names, found):
    assert chosen(names, ("a", "b", "c")) == found


def test_the_checkpoint_itself_is_returned_when_nothing_is_left_out(deep):
    loaded = checkpoints.load(deep)
    assert select(loaded, ()) is loaded
    assert list(select(loaded, ["places"]).model.specs) == ["places"]
