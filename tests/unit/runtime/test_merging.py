"""The union of graphs: equal values once, all outputs with the bits that they had."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from polyhead.bundle import structure
from polyhead.bundle.merging import Union
from polyhead.bundle.structure import Unmergeable

IDS = np.array([[3, 1, 2, 5], [0, 4, 4, 1]])
WIDTH = 4


def copy_of(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def weight(name, seed, shape=(WIDTH, WIDTH)):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def model_of(nodes, outputs, weights, opset=23, inputs=("ids",), sizes=("batch", "tokens")):
    values = [helper.make_tensor_value_info(n, TensorProto.INT64, sizes) for n in inputs]
    found = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [*sizes, None]) for n in outputs]
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(
        helper.make_graph(nodes, "g", values, found, weights), opset_imports=opsets, ir_version=10
    )


def encoder(head_seed=1, output="y", **more):
    """Three operators of an encoder, and a head."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("MatMul", ["words", "dense"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["states"]),
        helper.make_node("MatMul", ["states", "head"], [output]),
    ]
    weights = [weight("table", 10, (8, WIDTH)), weight("dense", 11), weight("head", head_seed)]
    return model_of(nodes, [output], weights, **more)


def read(model):
    return structure.read(model.SerializeToString(), "model.onnx")


def union(*models):
    """Content of the union, and how each stands in it."""
    first, *others = map(read, models)
    found = Union(first)
    joined = [found.own, *map(found.add, others)]
    return found.content(), joined


def run(content, outputs=None):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = outputs or [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, {"ids": IDS}), strict=True))


def check_bits(models):
    content, joined = union(*models)
    onnx.checker.check_model(content, full_check=True)
    found = run(content)
    for model, each in zip(models, joined, strict=True):
        for name, array in run(model.SerializeToString()).items():
            np.testing.assert_array_equal(found[each.outputs[name]], array, strict=True)
    return onnx.load_from_string(content), joined


def operators(model):
    return [node.op_type for node in model.graph.node]


def test_an_encoder_under_two_heads_is_there_once():
    merged, joined = check_bits([encoder(1, "a"), encoder(2, "b")])
    assert operators(merged) == ["Gather", "MatMul", "Relu", "MatMul", "MatMul"]
    assert len(merged.graph.initializer) == 4
    assert (joined[1].nodes, joined[1].shared) == (4, 3)


def test_names_say_nothing():
    renamed = encoder(1, "a")
    for number, node in enumerate(renamed.graph.node):
        node.name = f"node {number}"
        for names in (node.input, node.output):
            names[:] = [n if n in ("ids", "a") else f"other {n}" for n in names]
    for tensor in renamed.graph.initializer:
        tensor.name = f"other {tensor.name}"
    merged, joined = check_bits([encoder(1, "a"), renamed])
    assert operators(merged) == operators(renamed)
    assert joined[1].outputs == {"a": "a"}


def test_two_outputs_of_one_name_are_both_kept():
    merged, joined = check_bits([encoder(1), encoder(2), encoder(3), encoder(2)])
    assert [each.outputs["y"] for each in joined] == ["y", "y-2", "y-3", "y-2"]
    assert len(merged.graph.output) == 3


def test_an_output_inside_the_other_graph_gets_a_name_of_its_own():
    inner = encoder(1, "a")
    del inner.graph.node[3:], inner.graph.initializer[2:]
    inner.graph.output[0].name = "states"
    merged, joined = check_bits([encoder(1, "a"), inner])
    assert joined[1].outputs == {"states": "states-2"}
    assert operators(merged)[-1] == "Identity"
    merged, joined = check_bits([inner, encoder(1, "a")])
    assert joined[1].outputs == {"a": "a"}
    assert "Identity" not in operators(merged)


@pytest.mark.parametrize("holder", ["raw_data", "float_data"])
def test_a_weight_is_its_bytes_whatever_holds_them(holder):
    other = encoder(2, "b")
    for tensor in other.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if holder == "float_data":
            tensor.ClearField("raw_data")
            tensor.float_data.extend(values.ravel().tolist())
    merged, _ = check_bits([encoder(1, "a"), other])
    assert len(merged.graph.initializer) == 4


def test_one_bit_of_a_weight_makes_another_encoder():
    other = encoder(2, "b")
    table = other.graph.initializer[0]
    table.raw_data = table.raw_data[:65] + bytes([table.raw_data[65] ^ 1]) + table.raw_data[66:]
    with pytest.raises(Unmergeable, match="only 0 of 4 operators compute the same"):
        union(encoder(1, "a"), other)


def test_sizes_and_types_of_a_weight_count():
    for change in ({"dims": [WIDTH * WIDTH // 2, 2]}, {"data_type": TensorProto.INT32}):
        other = encoder(2, "b")
        tensor = other.graph.initializer[1]
        if "dims" in change:
            tensor.dims[:] = change["dims"]
        else:
            tensor.data_type = change["data_type"]
        with pytest.raises(Unmergeable, match="only 1 of 4"):
            union(encoder(1, "a"), other)


def test_attributes_count_in_any_order():
    def model(output, seed, *order, alpha=0.5):
        found = encoder(seed, output)
        found.graph.node[2].CopyFrom(helper.make_node("HardSigmoid", ["hidden"], ["states"]))
        values = {"alpha": alpha, "beta": 0.25}
        found.graph.node[2].attribute.extend(helper.make_attribute(n, values[n]) for n in order)
        return found

    both = ("alpha", "beta")
    _, joined = check_bits([model("a", 1, *both), model("b", 2, *reversed(both))])
    assert joined[1].shared == 3
    _, joined = check_bits([model("a", 1, *both), model("b", 2, *both, alpha=0.25)])
    assert joined[1].shared == 2


def test_the_number_of_outputs_counts():
    """Without sizes, Split makes parts of equal size: as many as it has outputs."""

    def split(*outputs):
        found = encoder(1, "a")
        node = helper.make_node("Split", ["states"], outputs, axis=2, num_outputs=len(outputs))
        del node.attribute[1:]  # num_outputs may be left out in a graph of old operators
        found.graph.node[3].CopyFrom(node)
        found.graph.output[0].name = outputs[0]
        found.opset_import[0].version = 13
        return found

    merged, _ = check_bits([split("half", "rest"), split("quarter", "x", "y", "z")])
    assert operators(merged).count("Split") == 2


def test_names_of_sizes_mean_what_they_meant_in_their_graph():
    crossed = encoder(2, "b", sizes=("tokens", "batch"))
    merged, _ = check_bits([encoder(1, "a"), crossed])
    sizes = [size.dim_param for size in merged.graph.output[1].type.tensor_type.shape.dim]
    assert sizes == ["batch", "tokens", ""]


def opset(model):
    model.opset_import[0].version = 22


def format_version(model):
    model.ir_version = 9


def more_domains(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def another_input(model):
    model.graph.input[0].name = "tokens"
    model.graph.node[0].input[1] = "tokens"


def fixed_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def a_branch(model):
    inner = helper.make_graph([helper.make_node("Relu", ["hidden"], ["r"])], "inner", [], [])
    node = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    model.graph.node.append(node)


def chance(model):
    model.graph.node[2].CopyFrom(helper.make_node("Dropout", ["hidden"], ["states"]))


def a_function(model):
    opset_ = [helper.make_opsetid("", 23)]
    model.functions.append(helper.make_function("", "F", [], [], [], opset_))


def a_sparse_weight(model):
    model.graph.sparse_initializer.add()


def a_default(model):
    model.graph.initializer.append(numpy_helper.from_array(IDS, "ids"))


def no_order(model):
    model.graph.node.insert(0, model.graph.node.pop(1))


def one_name_twice(model):
    model.graph.node.append(helper.make_node("Neg", ["hidden"], ["states"]))


def nothing_computed(model):
    model.graph.output[0].name = "nowhere"


REASONS = {
    opset: "versions of the format or of the operators differ",
    format_version: "versions of the format or of the operators differ",
    more_domains: "versions of the format or of the operators differ",
    another_input: "inputs differ",
    fixed_size: "sizes of their inputs differ",
    a_branch: "a graph inside",
    chance: "its operator Dropout may use chance",
    a_function: "functions",
    a_sparse_weight: "sparse weights",
    a_default: "a weight as its default",
    no_order: "reads a value that is not there",
    one_name_twice: "two values of it have one name",
    nothing_computed: "an output of it is not computed",
}


@pytest.mark.parametrize(
    ("change", "why"), REASONS.items(), ids=lambda v: getattr(v, "__name__", "")
)
def test_what_is_not_certain_is_not_merged(change, why):
    other = encoder(2, "b")
    change(other)
    with pytest.raises(Unmergeable, match=why):
        union(encoder(1, "a"), other)


def test_a_refused_graph_leaves_the_union_as_it_was():
    first = read(encoder(1, "a"))
    found = Union(first)
    other = encoder(2, "b")
    other.graph.initializer.append(weight("unread", 4))
    other.graph.output[0].name = "unread"  # found at the very end
    with pytest.raises(Unmergeable, match="output of it is a weight"):
        found.add(read(other))
    assert found.content() == first.content.tobytes()


@st.composite
def graphs(draw):
    """A base graph, and another that goes on from a part of it under other names."""
    kinds = st.sampled_from(["Relu", "Neg", "Add", "Mul", "MatMul"])
    places = st.integers(0, 30)
    steps = st.lists(st.tuples(kinds, places, places), min_size=6, max_size=10)
    common = draw(steps)
    tails = [draw(st.lists(st.tuples(kinds, places, places), max_size=4)) for _ in range(2)]
    seeds = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return [
        _chain(common, tail, s, prefix) for tail, s, prefix in zip(tails, seeds, "ab", strict=True)
    ]


def _chain(common, tail, seed, prefix):
    names = [f"{prefix}0"]
    nodes = [helper.make_node("Gather", ["table", "ids"], names)]
    for number, (kind, first, other) in enumerate([*common, *tail]):
        inputs = [names[first % len(names)]]
        if kind == "MatMul":
            inputs.append("shared" if number < len(common) else "own")
        elif kind in ("Add", "Mul"):
            inputs.append(names[other % len(names)])
        names.append(f"{prefix}{number + 1}")
        nodes.append(helper.make_node(kind, inputs, names[-1:]))
    weights = [weight("table", 5, (8, WIDTH)), weight("shared", 6), weight("own", seed)]
    return model_of(nodes, [names[-1], names[len(common)]][: 1 + bool(tail)], weights)


@given(graphs())
def test_each_output_of_a_union_has_its_own_bits(models):
    first, other = models
    try:
        merged, joined = check_bits(models)
    except Unmergeable as why:
        assert "operators compute the same" in str(why)  # noqa: PT017
        return
    apart = len(first.graph.node) + len(other.graph.node)
    added = [kind for kind in operators(merged) if kind != "Identity"]
    assert len(added) <= apart - joined[1].shared
    again, twice = check_bits([first, other, first, other])
    assert len(again.graph.node) == len(merged.graph.node)
    assert [each.outputs for each in twice[2:]] == [each.outputs for each in twice[:2]]
