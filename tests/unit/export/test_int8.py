import collections

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from polyhead.engine import Engine
from polyhead.inference.options import DISABLED_OPTIMIZERS, cpu_session_options
from polyhead.inference.session import OnnxSession
from polyhead_export import graphs
from polyhead_export.quantisation import calibrate as quantisation
from polyhead_export.texts import CalibrationTexts

LINEARS, INPUTS = 12, 8
TEXTS = tuple(
    f"anna lives in oslo, parcel {n} is not late{', thanks' * (n % 6)}" for n in range(30)
)


@pytest.fixture(scope="module")
def int8(case, wordpiece, tmp_path_factory):
    calibrated = quantisation.calibrate(
        ir.load(case("bert").path), wordpiece, CalibrationTexts(TEXTS, 0), max_tokens=40
    )
    model = graphs.lowered(quantisation.quantised(calibrated, quantisation.Plan()))
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    graphs.save(model, path)
    return path


@pytest.fixture(scope="module")
def optimised(int8, tmp_path_factory):
    """The graph that onnxruntime really runs under the runtime's options."""
    options = cpu_session_options()
    options.optimized_model_filepath = str(tmp_path_factory.mktemp("optimised") / "int8.onnx")
    ort.InferenceSession(
        int8,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(DISABLED_OPTIMIZERS),
    )
    return ir.load(options.optimized_model_filepath)


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(8).integers(5, 120, (9, 17), dtype=np.int64)


def test_every_linear_of_the_encoder_is_quantised_and_inputs_are_shared(int8, count):
    found = count(ir.load(int8))
    assert found["MatMulIntegerToFloat"] == LINEARS
    assert found["QuantizeLinear"] == INPUTS
    assert found["DequantizeLinear"] == 0


def test_each_input_is_quantised_once(int8):
    read = [n.inputs[0] for n in ir.load(int8).graph if n.op_type == "QuantizeLinear"]
    assert len(set(read)) == len(read)


def test_no_float_product_is_left_in_the_encoder_and_heads_stay_float(int8):
    products = [n.name for n in ir.load(int8).graph if n.op_type in ("MatMul", "Gemm")]
    assert not [name for name in products if name.startswith("encoder.")]
    assert sum("projection" in name for name in products) == 8


def test_biases_are_inside_the_products(int8):
    nodes = [n for n in ir.load(int8).graph if n.op_type == "MatMulIntegerToFloat"]
    assert all(len(node.inputs) == 7 for node in nodes)


def test_activations_are_u8_and_weights_s8_with_a_scale_a_channel(int8):
    for node in ir.load(int8).graph:
        if node.op_type == "MatMulIntegerToFloat":
            _, weight, x_scale, w_scale, x_zero, w_zero, _ = node.inputs
            assert (weight.dtype, x_zero.dtype) == (ir.DataType.INT8, ir.DataType.UINT8)
            assert x_scale.const_value.shape == ()
            assert w_scale.const_value.shape == weight.const_value.shape[1:]
            assert w_zero is None  # none is faster than zeros


def test_no_float_weight_is_kept_beside_its_quantised_form(int8):
    shapes = [
        tuple(value.const_value.shape)
        for name, value in ir.load(int8).graph.initializers.items()
        if value.dtype == ir.DataType.FLOAT and "layer." in name
    ]
    assert all(len(shape) < 2 for shape in shapes)


@pytest.mark.parametrize(
    "slow",
    ["SkipLayerNormalization", "BiasGelu", "FastGelu", "DynamicQuantizeMatMul", "QAttention"],
)
def test_onnxruntime_does_not_put_slow_operators_back(optimised, slow):
    assert slow not in {node.op_type for node in optimised.graph}


def test_onnxruntime_keeps_the_fast_operators(optimised, count):
    found = count(optimised)
    assert found["MatMulIntegerToFloat"] == LINEARS
    assert (found["LayerNormalization"], found["Gelu"], found["Attention"]) == (5, 3, 2)


def test_onnxruntime_runs_the_layout_as_it_was_written(int8, optimised, count):
    written, run = count(ir.load(int8)), count(optimised)
    layout = ("MatMulIntegerToFloat", "QuantizeLinear", "Attention", "Gelu", "LayerNormalization")
    assert {op: run[op] for op in layout} == {op: written[op] for op in layout}


def test_with_all_optimizers_slow_operators_would_come_back(int8, tmp_path):
    options = cpu_session_options()
    options.optimized_model_filepath = str(tmp_path / "default.onnx")
    ort.InferenceSession(int8, options, providers=["CPUExecutionProvider"])
    found = collections.Counter(n.op_type for n in ir.load(tmp_path / "default.onnx").graph)
    assert found["SkipLayerNormalization"]


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_logits_are_the_same_to_the_bit_alone_and_in_a_batch(int8, case, batch, kind):
    session = OnnxSession(int8 if kind == "int8" else case("bert").path)
    together = session.run(session.outputs, {"input_ids": batch})
    for index, row in enumerate(batch):
        alone = session.run(session.outputs, {"input_ids": row[None]})
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[index])


def test_logits_are_the_same_to_the_bit_among_other_texts(int8, batch):
    session = OnnxSession(int8)
    whole = session.run(session.outputs, {"input_ids": batch})
    turned = session.run(session.outputs, {"input_ids": batch[::-1].copy()})
    for one, other in zip(whole, turned, strict=True):
        np.testing.assert_array_equal(one, other[::-1])


def test_logits_are_the_same_to_the_bit_on_more_threads_of_onnxruntime(int8, batch):
    session = OnnxSession(int8)
    two = OnnxSession(int8, intra_op_threads=2)
    expected = session.run(session.outputs, {"input_ids": batch})
    for one, other in zip(expected, two.run(session.outputs, {"input_ids": batch}), strict=True):
        np.testing.assert_array_equal(one, other)


def test_logits_are_the_same_to_the_bit_on_more_threads_of_the_engine(int8, case, wordpiece):
    specs = case("bert").model.specs
    found = []
    for threads, batch_tokens in ((1, 256), (2, 64)):
        settings = {"threads": threads, "batch_tokens": batch_tokens, "max_tokens": 40}
        with Engine(OnnxSession(int8), wordpiece, specs, on_overflow="truncate", **settings) as e:
            found.append(e.logits(TEXTS))
    for head in specs:
        for one, other in zip(found[0][head], found[1][head], strict=True):
            np.testing.assert_array_equal(one, other)


def test_logits_are_close_to_the_float_ones(int8, case, batch):
    known = case("bert")
    exact = OnnxSession(known.path).run(known.outputs, {"input_ids": batch})
    rounded = OnnxSession(int8).run(known.outputs, {"input_ids": batch})
    for a, b in zip(exact, rounded, strict=True):
        assert 0 < np.linalg.norm(a - b) < 0.1 * np.linalg.norm(a)
