import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export import graphs
from polyhead_export.errors import StructureError
from polyhead_export.passes.attention_layout import AttentionLayout
from polyhead_export.passes.clean import clean
from polyhead_export.passes.drop_mask import DropMask
from polyhead_export.passes.fold_positions import FoldPositions
from polyhead_export.trace import trace


@pytest.fixture(scope="module")
def traced(make_model):
    """The tiny BERT after the passes that its structure is checked after."""
    traced = trace(make_model("bert"))
    for step in (clean(), DropMask(40), AttentionLayout(), FoldPositions(40), clean()):
        step(traced.model)
    return ir.to_proto(traced.model), traced.operators


@pytest.fixture
def graph(traced):
    return ir.from_proto(traced[0])


@pytest.fixture
def operators(traced):
    return traced[1]


def _first(model, kind):
    return next(node for node in model.graph if node.op_type == kind)


def _drop(model, kind):
    node = _first(model, kind)
    ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0])
    model.graph.remove(node)


def _without_gelu(model):
    _drop(model, "Gelu")


def _with_another_gelu(model):
    node = _first(model, "Gelu")
    model.graph.insert_after(node, ir.node("Gelu", [node.outputs[0]]))


def _without_norm(model):
    _drop(model, "LayerNormalization")


def _with_another_product(model):
    value = _first(model, "Gelu").outputs[0]
    model.graph.append(ir.node("MatMul", [value, value]))


def _in_4d_form(model):
    del _first(model, "Attention").attributes["q_num_heads"]


def _with_mask(model):
    node = _first(model, "Attention")
    mask = ir.Value(name="mask", const_value=ir.tensor(np.zeros((1, 1), np.float32)))
    model.graph.register_initializer(mask)
    node.resize_inputs(4)
    node.replace_input_with(3, mask)


def test_a_traced_graph_passes(graph, operators):
    graphs.check_operators(graph, operators)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(_without_gelu, "2 Gelu, expected 3", id="a_gelu_less"),
        pytest.param(_with_another_gelu, "4 Gelu, expected 3", id="a_gelu_more"),
        pytest.param(_without_norm, "4 LayerNormalization, expected 5", id="a_norm_less"),
        pytest.param(_with_another_product, "21 MatMul and Gemm, expected 20", id="a_matmul_more"),
        pytest.param(_in_4d_form, r"4-D form at encoder\.encoder\.layer\.0\.", id="4d_attention"),
        pytest.param(
            _with_mask,
            r"mask that depends on the tokens at encoder",
            id="mask",
        ),
    ],
)
def test_another_structure_is_refused_and_named(graph, operators, change, message):
    change(graph)
    with pytest.raises(StructureError, match=message):
        graphs.check_operators(graph, operators)


def test_all_problems_are_named_at_once(graph, operators):
    _without_gelu(graph)
    _with_mask(graph)
    with pytest.raises(StructureError, match=r"2 Gelu, expected 3; a mask .*not supported yet"):
        graphs.check_operators(graph, operators)
