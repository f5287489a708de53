"""The padded layout: a row's answer is the model's, whatever stands beside and behind it."""

from dataclasses import replace
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
import torch

from polyhead.inference.session import OnnxSession
from polyhead_export import graphs, parity
from polyhead_export.errors import ParityError
from polyhead_export.passes.clean import clean
from polyhead_export.passes.half_precision import HalfPrecision, nodes_beyond_fp16
from polyhead_models.model import MultiHeadModel

FAMILIES = ["minilm", "bert", "roberta", "distilbert"]
LAYERS = {"minilm": 6, "bert": 2, "roberta": 2, "distilbert": 2}


@pytest.fixture(scope="module")
def padded(make_model, tmp_path_factory):
    """`padded(family)`: the model, its padded graph on disk, and the longest row."""

    @cache
    def get(family):
        model, longest = make_model(family), 256 if family == "minilm" else 40
        path = tmp_path_factory.mktemp("padded") / f"{family}.onnx"
        graphs.save(graphs.float_graph(model, max_tokens=longest, padded=True), path)
        return model, path, longest

    return get


def run(path, lengths, *, width, filler=9, seed=4):
    """All outputs of rows of these lengths, cut out of one batch."""
    ids = np.random.default_rng(seed).integers(5, 128, (len(lengths), 40))[:, :width]
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)
    session = OnnxSession(path)
    feeds = {"input_ids": np.where(mask == 1, ids, filler), "attention_mask": mask}
    found = session.run(session.outputs, feeds)
    return [[a[i, :n] if a.ndim == 3 else a[i] for a in found] for i, n in enumerate(lengths)]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_mixed_lengths_get_the_models_answers(padded, family):
    model, path, longest = padded(family)
    assert parity.check(model, path, max_tokens=longest, padded=True) <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_fused_in_3d_form_under_one_mask(padded, family):
    graph = ir.load(padded(family)[1]).graph
    attention = [node for node in graph if node.op_type == "Attention"]
    assert len(attention) == LAYERS[family]
    assert all("q_num_heads" in node.attributes for node in attention)
    assert len({node.inputs[3] for node in attention}) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mask_is_an_input_of_free_size(padded, family):
    ids, mask = ir.load(padded(family)[1]).graph.inputs
    assert (ids.name, mask.name) == ("input_ids", "attention_mask")
    assert mask.dtype == ir.DataType.INT64
    assert [isinstance(dimension, int) for dimension in mask.shape] == [False, False]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("change", [{"width": 40}, {"filler": 1}, {"filler": 100}], ids=str)
def test_neither_amount_nor_content_of_the_padding_matters(padded, family, change):
    path = padded(family)[1]
    before = run(path, [9, 1, 4], **{"width": 9, "filler": 0})
    after = run(path, [9, 1, 4], **{"width": 9, "filler": 0, **change})
    for one, other in zip(before, after, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_pairs_are_padded_with_their_token_types(make_model, tmp_path):
    heads = make_model("bert").networks
    for head in heads.values():
        head.spec = replace(head.spec, input="pair")
    model = MultiHeadModel(make_model("bert").encoder, heads)
    traced = graphs.float_graph(model.eval(), max_tokens=40, padded=True)
    graphs.save(traced, tmp_path / "pairs.onnx")
    names = [value.name for value in traced.graph.inputs]
    assert names == ["input_ids", "token_type_ids", "attention_mask"]
    parity.check(model, tmp_path / "pairs.onnx", max_tokens=40, padded=True)


def test_check_refuses_a_graph_that_looks_at_the_padding(padded, tmp_path):
    model, path, longest = padded("bert")
    graph = ir.load(path)
    for node in graph.graph:
        if node.op_type == "Attention":
            node.replace_input_with(3, None)
    clean()(graph)
    graphs.save(graph, tmp_path / "blind.onnx")
    with pytest.raises(ParityError, match=r"of \d+ tokens padded to 7: blind\.onnx differs"):
        parity.check(model, tmp_path / "blind.onnx", max_tokens=longest, padded=True)


def half(path, target, keep=()):
    model = ir.load(path)
    ir.passes.Sequential(HalfPrecision(keep), clean())(model)
    graphs.save(model, target)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_fp16_stays_within_two_percent_of_the_largest_logit(padded, family, tmp_path):
    model, path, longest = padded(family)
    half(path, tmp_path / "half.onnx")
    error = parity.check(
        model, tmp_path / "half.onnx", max_tokens=longest, tolerance=2e-2, padded=True
    )
    assert 1e-6 < error <= 2e-2


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_fp16_takes_half_the_room_and_keeps_the_heads(padded, family, tmp_path):
    path = padded(family)[1]
    graph = half(path, tmp_path / "half.onnx").graph
    assert (tmp_path / "half.onnx").stat().st_size < 0.65 * path.stat().st_size
    assert {value.dtype for value in graph.outputs} == {ir.DataType.FLOAT}
    projections = [node for node in graph if "projection" in (node.name or "")]
    assert projections
    assert {v.dtype for node in projections for v in node.outputs} == {ir.DataType.FLOAT}


@pytest.fixture
def wide(make_model, tmp_path):
    """A feed-forward network whose output leaves the range of fp16, and a layer norm after it."""
    model = make_model("bert")
    with torch.no_grad():
        model.encoder.encoder.layer[0].output.dense.weight[3].mul_(5e5)
    path = tmp_path / "wide.onnx"
    traced = graphs.float_graph(model, max_tokens=40, padded=True)
    graphs.save(traced, path)
    return model, traced, path


IDS = np.arange(5, 29).reshape(1, 24)
FEEDS = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}


def test_fp16_alone_loses_values_that_are_too_large(wide, tmp_path):
    model, _, path = wide
    half(path, tmp_path / "half.onnx")
    with pytest.raises(ParityError, match=r"half\.onnx differs"):
        parity.check(model, tmp_path / "half.onnx", max_tokens=40, tolerance=2e-2, padded=True)


def test_nodes_that_see_large_values_stay_in_fp32(wide, tmp_path):
    model, traced, path = wide
    keep = nodes_beyond_fp16(traced, [FEEDS])
    assert len(keep) == 4  # product, bias, residual and the norm that reads it
    assert all(".layer.0." in name for name in keep)
    half(path, tmp_path / "half.onnx", keep)
    parity.check(model, tmp_path / "half.onnx", max_tokens=40, tolerance=2e-2, padded=True)


def test_an_ordinary_model_has_no_such_nodes(padded):
    assert nodes_beyond_fp16(ir.load(padded("bert")[1]), [FEEDS]) == frozenset()
