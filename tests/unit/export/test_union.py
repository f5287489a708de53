"""Graphs over one encoder as one graph: what is the same once, every output with its bits."""

import copy
import itertools

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from polyhead_export.combining.union import NotMerged, union

IDS = np.array([[1, 5, 2, 7]], np.int64)


def encoder(seed, output="y"):
    """Gather, MatMul and Relu of one encoder; the last MatMul is a head of its own."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    weights = {
        "table": shared.normal(size=(9, 4)).astype(np.float32),
        "mixer": shared.normal(size=(4, 4)).astype(np.float32),
        "head": own.normal(size=(4, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "mixer"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["states"]),
        helper.make_node("MatMul", ["states", "head"], [output]),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "encoder",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", "tokens", 3])],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 23)],
        ir_version=10,
    )


def run(model):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, {"ids": IDS}), strict=True))


def merged(*models, names=None):
    names = names or [{v.name: v.name for v in model.graph.output} for model in models]
    expected = [run(model) for model in models]
    parts = [ir.from_proto(copy.deepcopy(model)) for model in models]  # which renames what it reads
    found = ir.to_proto(union(parts, names))
    onnx.checker.check_model(found, full_check=True)
    arrays = run(found)
    for alone, own in zip(expected, names, strict=True):
        for name, array in alone.items():
            np.testing.assert_array_equal(arrays[own[name]], array, strict=True)
    return found


def operators(model):
    return [node.op_type for node in model.graph.node]


def test_an_encoder_under_two_heads_is_there_once():
    found = merged(encoder(1, "a"), encoder(2, "b"))
    assert operators(found) == ["Gather", "MatMul", "Relu", "MatMul", "MatMul"]
    assert len(found.graph.initializer) == 4


def test_names_say_nothing():
    renamed = encoder(2, "b")
    for number, node in enumerate(renamed.graph.node):
        node.name = f"node {number}"
        for names in (node.input, node.output):
            names[:] = [n if n in ("ids", "b") else f"other {n}" for n in names]
    for tensor in renamed.graph.initializer:
        tensor.name = f"other {tensor.name}"
    assert len(merged(encoder(1, "a"), renamed).graph.initializer) == 4


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_three_of_one_name_are_all_kept(order):
    names = [{"y": "y"}, {"y": "y-2"}, {"y": "y-3"}]
    found = merged(*(encoder(seed) for seed in order), names=names)
    assert [value.name for value in found.graph.output] == ["y", "y-2", "y-3"]
    assert len(found.graph.initializer) == 5


def test_a_union_may_be_a_part_of_another():
    first = merged(encoder(1), encoder(1), names=[{"y": "y"}, {"y": "y-2"}])
    assert [value.name for value in first.graph.output] == ["y", "y-2"]
    names = [{"y": "y", "y-2": "y-2"}, {"y": "y-3"}]
    assert len(merged(first, encoder(3), names=names).graph.initializer) == 4


def test_an_output_that_is_inside_the_other_graph_is_kept():
    inner = encoder(1, "a")
    del inner.graph.node[3:], inner.graph.initializer[2:]
    inner.graph.output[0].name = "states"
    inner.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 4
    for models in ((encoder(1, "a"), inner), (inner, encoder(1, "a"))):
        assert operators(merged(*models)) == ["Gather", "MatMul", "Relu", "MatMul"]


def another_bit(model):
    table = model.graph.initializer[0]
    table.raw_data = table.raw_data[:65] + bytes([table.raw_data[65] ^ 1]) + table.raw_data[66:]


def another_opset(model):
    model.opset_import[0].version = 22


def another_input(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def a_function(model):
    model.functions.add(name="F", domain="ai.onnx")


def a_branch(model):
    branch = helper.make_graph(
        [helper.make_node("Identity", ["states"], ["either"])],
        "branch",
        [],
        [helper.make_tensor_value_info("either", TensorProto.FLOAT, None)],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    node = helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch)
    model.graph.node.insert(3, node)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (another_bit, "only 0 of 4 operators compute the same"),
        (another_opset, "their versions of the operators differ"),
        (another_input, "their inputs differ"),
        (a_function, "functions or control flow"),
        (a_branch, "functions or control flow"),
        (lambda model: None, "both have a value 'y'"),
    ],
    ids=["weight", "opset", "input", "function", "branch", "name"],
)
def test_what_cannot_be_one_graph_says_why(change, why):
    other = encoder(2)
    change(other)
    same = "y" if "both have" in why else "y-2"
    with pytest.raises(NotMerged, match=why):
        union([ir.from_proto(encoder(1)), ir.from_proto(other)], [{"y": "y"}, {"y": same}])


def test_more_than_a_file_holds_stays_apart(monkeypatch):
    monkeypatch.setattr("polyhead_export.combining.union.MOST_BYTES", 100)
    with pytest.raises(NotMerged, match="larger than 2 GB"):
        merged(encoder(1, "a"), encoder(2, "b"))
