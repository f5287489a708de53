"""Each family on a tiny random encoder: structure, the model's numbers, and the same to the bit."""

import collections

import numpy as np
import onnx_ir as ir
import pytest
import transformers

from polyhead.inference.session import OnnxSession
from polyhead_export import graphs, parity
from polyhead_export.quantisation import calibrate as quantisation
from polyhead_export.texts import CalibrationTexts

TEXTS = tuple(f"anna lives in oslo, parcel {n} is late{', thanks' * (n % 6)}" for n in range(12))
# Linears of the encoder; ModernBERT makes query, key and value in one.
LINEARS = {
    "roberta": 12,
    "distilbert": 12,
    "xlm-roberta": 12,
    "camembert": 12,
    "electra": 13,
    "albert": 13,
    "mpnet": 12,
    "deberta-v2": 12,
    "deberta-v2-conv": 12,
    "modernbert": 16,
    "nomic_bert": 14,
}
EAGER = ("mpnet", "deberta-v2", "deberta-v2-conv")


@pytest.fixture(scope="module", params=LINEARS)
def family(request, families):
    if request.param not in families:
        pytest.skip("this transformers has it not")
    return request.param


@pytest.fixture(scope="module")
def counts(case, family):
    return collections.Counter(n.op_type for n in ir.load(case(family).path).graph)


@pytest.fixture(scope="module")
def int8(case, family, wordpiece, tmp_path_factory):
    model = ir.load(case(family).path)
    sampled = CalibrationTexts(TEXTS, 0)
    calibrated = quantisation.calibrate(model, wordpiece, sampled, max_tokens=40)
    model = graphs.lowered(quantisation.quantised(calibrated, quantisation.Plan()))
    path = tmp_path_factory.mktemp(f"{family}-int8") / "int8.onnx"
    graphs.save(model, path)
    return path


def test_the_graph_gives_the_numbers_of_the_model(case, family):
    known = case(family)
    assert parity.check(known.model, known.path, max_tokens=known.max_tokens) <= 1e-5


def test_each_layer_has_one_attention(case, counts, family):
    layers = case(family).model.encoder.config.num_hidden_layers
    eager = family in EAGER or case(family).model.encoder.config._attn_implementation == "eager"
    assert counts["Softmax" if eager else "Attention"] == layers
    assert counts["Attention" if eager else "Softmax"] == 0


def test_attention_is_in_3d_form(case, family):
    nodes = [n for n in ir.load(case(family).path).graph if n.op_type == "Attention"]
    assert all("q_num_heads" in node.attributes for node in nodes)


def test_only_the_window_of_local_attention_masks_anything(case, family):
    nodes = [n for n in ir.load(case(family).path).graph if n.op_type == "Attention"]
    masked = [n.name for n in nodes if len(n.inputs) > 3 and n.inputs[3] is not None]
    assert len(masked) == (2 if family == "modernbert" else 0)


def test_no_reshapes_are_left_around_attention(case, counts, family):
    # The window of local attention in transformers 4 is made with a Transpose; it masks, no more.
    windowed = family == "modernbert" and transformers.__version__.startswith("4.")
    if case(family).model.encoder.config._attn_implementation == "sdpa":
        left = {"Transpose", "Reshape", "Erf", "Constant", "Identity", "Cos"} & counts.keys()
        assert left <= ({"Transpose"} if windowed else set())
        assert counts["Transpose"] <= 1


def test_every_linear_of_the_encoder_is_quantised(int8, family):
    found = collections.Counter(n.op_type for n in ir.load(int8).graph)
    assert found["MatMulIntegerToFloat"] == LINEARS[family]


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_logits_are_the_same_to_the_bit_alone_and_in_a_batch(case, int8, family, kind):
    session = OnnxSession(int8 if kind == "int8" else case(family).path)
    for shape in ((3, 7), (9, 33)):
        batch = np.random.default_rng(8).integers(5, 120, shape, dtype=np.int64)
        together = session.run(session.outputs, {"input_ids": batch})
        for index, row in enumerate(batch):
            alone = session.run(session.outputs, {"input_ids": row[None]})
            for one, all_of_them in zip(alone, together, strict=True):
                np.testing.assert_array_equal(one[0], all_of_them[index])


def test_int8_logits_are_close_to_the_float_ones(case, int8, family):
    known = case(family)
    ids = np.random.default_rng(8).integers(5, 120, (9, 17), dtype=np.int64)
    exact = OnnxSession(known.path).run(known.outputs, {"input_ids": ids})
    rounded = OnnxSession(int8).run(known.outputs, {"input_ids": ids})
    for a, b in zip(exact, rounded, strict=True):
        assert 0 < np.linalg.norm(a - b) < 0.3 * np.linalg.norm(a)
