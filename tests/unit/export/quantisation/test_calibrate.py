"""Real tiny encoders, from float graph to int8."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from polyhead.inference.session import OnnxSession
from polyhead_export import graphs
from polyhead_export.errors import CalibrationError
from polyhead_export.quantisation import calibrate as quantisation
from polyhead_export.quantisation.calibrate import Plan
from polyhead_export.quantisation.observe import observe
from polyhead_export.texts import CalibrationTexts

TEXTS = CalibrationTexts(("", "the parcel was late", "anna lives in oslo " * 30), 0)
FFN = "encoder.encoder.layer.1.output.dense"


@pytest.fixture(scope="module")
def points(case, wordpiece):
    found = observe(ir.load(case("bert").path), wordpiece, TEXTS, max_tokens=40)
    return {point.name: point for point in found}


@pytest.fixture(scope="module")
def calibrated(case, wordpiece):
    return quantisation.calibrate(ir.load(case("bert").path), wordpiece, TEXTS, max_tokens=40)


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(8).integers(5, 120, (4, 11), dtype=np.int64)


def input_of(model, node):
    return next(n for n in model.graph if n.name == node).inputs[0].name


def test_points_are_what_linears_of_the_encoder_read_and_no_more(case, points):
    read = {
        node.inputs[0].name
        for node in ir.load(case("bert").path).graph
        if node.op_type == "MatMul" and node.name.startswith("encoder.")
    }
    assert points.keys() == read
    assert len(read) == 8  # of each layer: hidden state, attention output, FFN input, FFN middle


def test_heads_stay_in_float_that_read_what_the_encoder_reads_too(case, calibrated):
    shared = {
        node.name
        for node in ir.load(case("bert").path).graph
        if node.op_type == "MatMul" and node.name.startswith("heads.head_lower_tags")
    }
    assert shared
    model = quantisation.quantised(calibrated, Plan())
    quantised = {n.inputs[0].producer().op_type: set() for n in model.graph if n.name in shared}
    assert "DequantizeLinear" not in quantised
    assert not any(name.startswith("heads.") for name, _ in calibrated.ranking)


def test_extremes_are_those_of_the_activations_in_all_windows(case, points, wordpiece):
    known, seen = case("bert"), []
    layer = known.model.encoder.encoder.layer[1].output.dense
    hook = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.inference_mode():
        for encoding in wordpiece.encode(TEXTS.texts):
            for window in encoding.windowed(40, stride=0).split():
                known.model(torch.from_numpy(window.ids[None]))
    hook.remove()
    point = points[input_of(ir.load(known.path), f"{FFN}/MatMul")]
    every = torch.cat([states.reshape(-1, states.shape[-1]) for states in seen])
    np.testing.assert_allclose(point.low, every.min(dim=0).values, atol=1e-4)
    np.testing.assert_allclose(point.high, every.max(dim=0).values, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "infinity"])
def test_a_weight_that_is_no_number_is_refused_and_the_tensor_named(make_model, wordpiece, value):
    model = make_model("distilbert")
    with torch.no_grad():
        model.encoder.transformer.layer[1].sa_layer_norm.bias[3] = value
    graph = graphs.float_graph(model, max_tokens=40)
    name = input_of(graph, "encoder.transformer.layer.1.ffn.lin1/MatMul")
    with pytest.raises(CalibrationError, match=f"^{name}: values from .*NaN or infinity"):
        quantisation.calibrate(graph, wordpiece, TEXTS, max_tokens=40)


@pytest.mark.parametrize(("texts", "few"), [(("oslo", "anna"), True), (TEXTS.texts * 4, False)])
def test_too_few_tokens_to_know_what_goes_together_are_told(case, wordpiece, caplog, texts, few):
    sampled = CalibrationTexts(texts, 0)
    quantisation.calibrate(ir.load(case("bert").path), wordpiece, sampled, max_tokens=40)
    said = [message for message in caplog.messages if "fewer than the" in message]
    assert bool(said) == few


def test_every_linear_is_ranked_the_worst_first(calibrated):
    errors = [error for _, error in calibrated.ranking]
    assert len(errors) == 12
    assert errors == sorted(errors, reverse=True)


def test_applying_leaves_the_float_graph_as_it_is(calibrated):
    before = ir.to_proto(calibrated.model).SerializeToString(deterministic=True)
    quantisation.quantised(calibrated, Plan())
    assert ir.to_proto(calibrated.model).SerializeToString(deterministic=True) == before


def test_the_canonical_graph_is_standard_onnx(calibrated):
    proto = ir.to_proto(quantisation.quantised(calibrated, Plan()))
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}


WORST = [
    pytest.param(0, 0, id="static"),
    pytest.param(5, 0, id="some_by_token"),
    pytest.param(12, 0, id="all_by_token"),
    pytest.param(0, 12, id="all_in_float"),
    pytest.param(12, 4, id="mixed"),
]


@pytest.mark.parametrize(("rows", "fp32"), WORST)
def test_a_plan_is_kept_and_logits_stay_close(case, calibrated, batch, tmp_path, rows, fp32):
    names = [name for name, _ in calibrated.ranking]
    exact = frozenset(names[:fp32])
    plan = Plan(per_row=frozenset(names[:rows]) - exact, fp32=exact)
    model = graphs.lowered(quantisation.quantised(calibrated, plan))
    graphs.save(model, tmp_path / "model.onnx")
    fast = [node.name for node in model.graph if node.op_type == "MatMulIntegerToFloat"]
    assert sorted(fast) == sorted(set(names) - exact)
    session, expected = OnnxSession(tmp_path / "model.onnx"), OnnxSession(case("bert").path)
    for a, b in zip(
        session.run(case("bert").outputs, {"input_ids": batch}),
        expected.run(case("bert").outputs, {"input_ids": batch}),
        strict=True,
    ):
        assert np.linalg.norm(a - b) < (1e-5 if fp32 == 12 else 0.1) * np.linalg.norm(b)


def test_a_point_is_smoothed_for_what_reads_it(calibrated):
    names = [name for name, _ in calibrated.ranking]
    graph = calibrated.model.graph
    readers = {}
    for node in graph:
        if node.name in names:
            readers.setdefault(node.inputs[0].name, []).append(node.name)
    one = next(point for point, read in readers.items() if len(read) == 3)
    some = Plan(per_row=frozenset(readers[one][:2]))
    rest = Plan(per_row=some.per_row, fp32=frozenset(readers[one][2:]))
    every = Plan(per_row=frozenset(names))
    for name, point in calibrated.points.items():
        assert point.smoothing(Plan()) is point.setting
        assert point.smoothing(some) is point.setting
        assert point.smoothing(rest) is (point.by_token if name == one else point.setting)
        assert point.smoothing(every) is point.by_token


def test_an_outlying_channel_is_smoothed_away(make_model, wordpiece, tmp_path, batch):
    """One channel inside a feed-forward layer is 60 times as large, the model's answer the same."""
    model = make_model("bert")
    layer = model.encoder.encoder.layer[0]
    with torch.no_grad():
        layer.intermediate.dense.bias[3] += 3  # GELU is the identity there, nearly
        layer.intermediate.dense.weight[3] *= 60
        layer.output.dense.weight[:, 3] /= 60
    graph = graphs.float_graph(model, max_tokens=40)
    calibrated = quantisation.calibrate(graph, wordpiece, TEXTS, max_tokens=40)
    name = input_of(graph, "encoder.encoder.layer.0.output.dense/MatMul")
    assert calibrated.alphas(Plan())[name] is not None
    smooth = calibrated.points[name].setting.factors
    assert int(np.argmax(smooth)) == 3


@pytest.mark.parametrize("rows", [0, 12], ids=["static", "by_token"])
def test_logits_are_the_same_to_the_bit_alone_and_in_a_batch(calibrated, batch, tmp_path, rows):
    plan = Plan(per_row=frozenset(name for name, _ in calibrated.ranking[:rows]))
    graphs.save(graphs.lowered(quantisation.quantised(calibrated, plan)), tmp_path / "model.onnx")
    session = OnnxSession(tmp_path / "model.onnx")
    together = session.run(session.outputs, {"input_ids": batch})
    for index, row in enumerate(batch):
        for one, many in zip(
            session.run(session.outputs, {"input_ids": row[None]}), together, strict=True
        ):
            np.testing.assert_array_equal(one[0], many[index])
