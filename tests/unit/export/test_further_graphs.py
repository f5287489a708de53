"""Graphs beside the exact one: standard ONNX, padded, and fp16 for CUDA."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import polyhead
from polyhead import bundle as bundles
from polyhead.cli.main import main
from polyhead.inference.session import OnnxSession
from polyhead.verify.golden import verify
from polyhead_export.pipeline import export
from polyhead_export.quantisation.stored import int8_weights
from polyhead_export.settings import ExportSettings
from polyhead_export.variants import FP16_TOLERANCE
from polyhead_models import checkpoint as checkpoints

TEXTS = ["The parcel to Oslo was 3 days late.", "", "Thanks!"]


@pytest.fixture(scope="module")
def bundle(checkpoint, tmp_path_factory, any_loss):
    target = tmp_path_factory.mktemp("further") / "bundle"
    settings = ExportSettings(
        precision="int8", also=("cuda", "padded", "onnx", "fp32"), limits=any_loss
    )
    export(checkpoint, target, settings)
    return bundles.read(target)


def test_the_exact_graph_stands_first_and_is_the_one_that_runs(bundle):
    found = [(g.file, g.precision, g.layout, g.target) for g in bundle.manifest.graphs]
    assert found == [
        ("model.int8.onnx", "int8", "exact", "ort-cpu"),
        ("model.qdq.onnx", "int8", "exact", "onnx"),
        ("model.fp32.onnx", "fp32", "exact", "onnx"),
        ("model.padded.onnx", "fp32", "padded", "onnx"),
        ("model.cuda.onnx", "fp16", "padded", "ort-cuda"),
    ]
    assert verify(bundle.path).passed
    with polyhead.load(bundle.path) as engine:
        assert engine(TEXTS[0])["topic"].label in ("billing", "delivery", "praise")


def test_the_float_graph_runs_where_it_is_asked_for(bundle, checkpoint):
    expected = checkpoints.load(checkpoint).engine().logits(TEXTS)
    with polyhead.load(bundle.path, precision="fp32") as engine:
        assert engine.info()["graph"]["file"] == "model.fp32.onnx"
        found = engine.logits(TEXTS)
    for head, rows in found.items():
        for row, right in zip(rows, expected[head], strict=True):
            np.testing.assert_allclose(row, right, rtol=0, atol=1e-4)
    with polyhead.load(bundle.path, precision="int8") as engine:
        assert engine.info()["graph"]["file"] == "model.int8.onnx"


def test_int8_weights_have_7_bits_in_both_forms(bundle):
    for file, op in (("model.int8.onnx", "MatMulIntegerToFloat"), ("model.qdq.onnx", "MatMul")):
        graph = ir.load(bundle.path / file).graph
        weights = int8_weights(graph)
        assert len(weights) == sum(n.op_type == op and n.name in weights for n in graph) > 0
        assert max(np.abs(weight.astype(int)).max() for weight in weights.values()) == 64


def test_every_graph_has_the_declared_inputs_and_outputs(bundle):
    outputs = {spec.output for spec in bundle.manifest.heads.values()}
    for graph in bundle.manifest.graphs:
        session = OnnxSession(bundle.file(graph))
        assert session.inputs == graph.inputs
        assert set(session.outputs) == outputs
        assert ("attention_mask" in graph.inputs) == (graph.layout == "padded")


@pytest.mark.parametrize("file", ["model.qdq.onnx", "model.fp32.onnx", "model.padded.onnx"])
def test_a_graph_for_onnx_has_standard_operators_only(bundle, file):
    path = bundle.path / file
    onnx.checker.check_model(path, full_check=True)
    assert {node.domain for node in ir.load(path).graph} == {""}


def test_the_standard_int8_graph_decides_as_the_lowered_one(bundle):
    with polyhead.load(bundle.path) as engine:
        encodings, expected = engine.encode(TEXTS), engine.logits(TEXTS)
    session = OnnxSession(bundle.path / "model.qdq.onnx")
    for i, encoding in enumerate(encodings):
        found = session.run(["logits/topic", "logits/entities"], encoding.feeds(session.inputs))
        for array, head in zip(found, ("topic", "entities"), strict=True):
            np.testing.assert_array_equal(array[0].argmax(-1), expected[head][i].argmax(-1))


@pytest.mark.parametrize(
    ("file", "bound"), [("model.padded.onnx", 1e-4), ("model.cuda.onnx", 2e-2)]
)
def test_padded_rows_get_the_trained_models_logits(bundle, checkpoint, file, bound):
    engine = checkpoints.load(checkpoint).engine()
    encodings, expected = engine.encode(TEXTS), engine.logits(TEXTS)
    width = max(map(len, encodings)) + 2
    ids = np.stack([np.pad(e.ids, (0, width - len(e))) for e in encodings])
    mask = (np.arange(width) < np.array([[len(e)] for e in encodings])).astype(np.int64)
    session, heads = OnnxSession(bundle.path / file), bundle.manifest.heads
    found = session.run(
        [s.output for s in heads.values()], {"input_ids": ids, "attention_mask": mask}
    )
    for head, array in zip(heads, found, strict=True):
        for i, row in enumerate(array):
            row = row[: len(encodings[i])] if row.ndim == 2 else row
            scale = max(1.0, float(np.abs(expected[head][i]).max()))
            np.testing.assert_allclose(row / scale, expected[head][i] / scale, rtol=0, atol=bound)


def test_manifest_and_card_say_that_no_gpu_was_measured(bundle):
    facts = bundle.manifest.provenance["further_graphs"]["model.cuda.onnx"]
    assert facts["measured_on_gpu"] is False
    assert facts["checked_on"] == "CPUExecutionProvider"
    assert 0 < facts["largest_difference"] <= facts["allowed_difference"] == 2e-2
    assert "was not measured on a GPU" in (bundle.path / "README.md").read_text()


def test_a_bundle_without_further_graphs_says_nothing_of_them(exported):
    found = bundles.read(exported("int8"))
    assert "further_graphs" not in found.manifest.provenance
    assert "Further graphs" not in (found.path / "README.md").read_text()


def test_golden_answers_have_a_tolerance_for_every_graph(bundle):
    tolerance = bundle.golden().tolerance
    assert set(tolerance) == {graph.file for graph in bundle.manifest.graphs}
    assert max(tolerance["model.padded.onnx"].values()) < 1e-3
    assert min(tolerance["model.cuda.onnx"].values()) >= FP16_TOLERANCE


def test_an_int8_bundle_can_be_standard_onnx_altogether(checkpoint, tmp_path, capfd):
    words = ["export", str(checkpoint), "-o", str(tmp_path / "b"), "--target", "onnx"]
    assert main([*words, "--also", "onnx"]) == 0
    said = capfd.readouterr().err
    assert "--also onnx adds nothing: model.int8.onnx is standard ONNX itself" in said
    (graph,) = bundles.read(tmp_path / "b").manifest.graphs
    assert (graph.file, graph.precision, graph.target) == ("model.int8.onnx", "int8", "onnx")
    assert {node.domain for node in ir.load(tmp_path / "b" / graph.file).graph} == {""}
    assert verify(tmp_path / "b").passed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--also", "paded"],
            "found 'paded', allowed: fp32, onnx, padded, cuda. Did you mean 'padded'?",
        ),
        (["--heads", "topic,"], "found 'topic,', expected names with commas between"),
        (
            ["--format", "optimum", "--also", "onnx"],
            "--format optimum: --also: only for bundles",
        ),
    ],
    ids=["unknown_graph", "empty_name", "optimum_with_more"],
)
def test_a_wrong_call_is_explained(words, message, tmp_path, capfd):
    with pytest.raises(SystemExit) as stopped:
        main(["export", "checkpoint", "-o", str(tmp_path / "b"), *words])
    assert stopped.value.code == 2
    assert message in capfd.readouterr().err
