from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from polyhead import GraphError, load
from polyhead.bundle import limits
from polyhead.bundle.onnx_check import check_onnx

GRAPH_FIELD = 7 << 3 | 2


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def external(name: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), name)
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def external_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(external("far"))


def external_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=external("far")))


def external_in_an_attribute(field: str) -> Callable[[onnx.ModelProto], None]:
    def damage(model: onnx.ModelProto) -> None:
        attribute = model.graph.node.add(op_type="Constant").attribute.add(name="value")
        tensor = external("far")
        target = getattr(attribute, field)
        if field.endswith("s"):
            target.append(tensor)
        else:
            target.CopyFrom(tensor)

    damage.__name__ = f"external_in_{field}"
    return damage


def foreign_node(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Evil", [], ["y"], domain="evil.ops"))


def foreign_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("evil.ops", 1))


EXTERNAL = [
    external_initializer,
    external_constant,
    *map(external_in_an_attribute, ("t", "tensors")),
]
FOREIGN = [foreign_node, foreign_opset]


def subgraph(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(nodes, "inner", [], [])


def branches(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=subgraph()))


def several_graphs(model: onnx.ModelProto) -> None:
    attribute = model.graph.node.add(op_type="Odd").attribute.add(name="bodies")
    attribute.graphs.append(subgraph())


def a_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Sin", ["x"], ["y"])
    model.functions.append(
        helper.make_function("ai.onnx", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 23)])
    )


def training_steps(model: onnx.ModelProto) -> None:
    model.training_info.add()


def a_sparse_weight(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().dims.append(2**40)


def a_sparse_constant(model: onnx.ModelProto) -> None:
    attribute = model.graph.node.add(op_type="Constant").attribute.add(name="sparse_value")
    attribute.sparse_tensor.dims.append(2**40)


def texts(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("t", TensorProto.STRING, [1], [b"a"]))


ENDLESS = [
    branches,
    several_graphs,
    a_function,
    training_steps,
    a_sparse_weight,
    a_sparse_constant,
    texts,
]


def many_nodes(model: onnx.ModelProto) -> None:
    for number in range(limits.NODES.most + 1):
        model.graph.node.add(op_type="Identity", input=["x"], output=[f"y{number}"])


def many_inputs(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="Sum", input=["x"] * limits.INPUTS.most, output=["y"])


def many_weights(model: onnx.ModelProto) -> None:
    for number in range(limits.WEIGHTS.most + 1):
        model.graph.initializer.add(name=f"w{number}", data_type=1)


def many_fields(model: onnx.ModelProto) -> None:
    attribute = model.graph.node.add(op_type="Identity").attribute.add(name="a")
    attribute.ints.extend(range(limits.FIELDS.most))


def much_text(model: onnx.ModelProto) -> None:
    model.doc_string = "a" * limits.STRUCTURE_BYTES.most


LARGE = [many_nodes, many_inputs, many_weights, many_fields, much_text]


@pytest.fixture(scope="module")
def content(graph: onnx.ModelProto) -> bytes:
    return graph.SerializeToString()


def test_a_real_graph_passes(content):
    check_onnx(content, "model.onnx")


def test_operators_of_onnxruntime_pass(graph):
    model = copy_of(graph)
    model.graph.node.append(helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    check_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("damage", EXTERNAL, ids=lambda f: f.__name__)
def test_external_data_is_refused(graph, damage):
    model = copy_of(graph)
    damage(model)
    with pytest.raises(GraphError, match=r"model\.onnx: a tensor lies in an external file"):
        check_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("damage", FOREIGN, ids=lambda f: f.__name__)
def test_a_foreign_operator_is_refused(graph, damage):
    model = copy_of(graph)
    damage(model)
    with pytest.raises(GraphError, match=r"model\.onnx: uses operators of the domain 'evil\.ops'"):
        check_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("damage", [*EXTERNAL, *FOREIGN], ids=lambda f: f.__name__)
def test_a_bundle_with_such_a_graph_is_not_loaded(make_bundle, tmp_path: Path, graph, damage):
    model = copy_of(graph)
    damage(model)
    folder = make_bundle(tmp_path / "bundle", model=model)
    with pytest.raises(GraphError, match=r"bundle/model\.onnx: (a tensor|uses operators)"):
        load(folder)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


@pytest.mark.parametrize("damage", ENDLESS, ids=lambda f: f.__name__)
def test_what_no_encoder_needs_is_refused(graph, damage):
    model = copy_of(graph)
    damage(model)
    with pytest.raises(
        GraphError, match=r"model\.onnx: has .*, which no graph of an encoder needs"
    ):
        check_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("kind", ["RandomNormal", "RandomUniformLike", "Multinomial", "Bernoulli"])
def test_numbers_by_chance_are_refused(graph, kind):
    model = copy_of(graph)
    model.graph.node.append(helper.make_node(kind, ["x"], ["y"]))
    with pytest.raises(GraphError, match=rf"model\.onnx: {kind} draws numbers by chance"):
        check_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("damage", LARGE, ids=lambda f: f.__name__)
def test_more_than_any_graph_has_is_refused(graph, damage):
    model = copy_of(graph)
    damage(model)
    with pytest.raises(GraphError, match=r"model\.onnx: [\d,]+ .*, at most [\d,]+ are allowed"):
        check_onnx(model.SerializeToString(), "model.onnx")


def test_weights_do_not_count_as_structure(graph):
    model = copy_of(graph)
    weights = np.zeros(limits.STRUCTURE_BYTES.most, np.int8)
    model.graph.initializer.append(numpy_helper.from_array(weights, "large"))
    check_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("bit", [32, 33, 34])
def test_a_field_number_that_protobuf_would_cut_to_another_is_refused(graph, bit):
    """Protobuf keeps 32 bits of a tag, so that a longer one could hide the graph from the scan."""
    model = copy_of(graph)
    external_initializer(model)
    hidden = model.graph.SerializeToString()
    model.ClearField("graph")
    tag = varint(GRAPH_FIELD | 1 << bit)
    with pytest.raises(GraphError, match=r"model\.onnx"):
        check_onnx(model.SerializeToString() + tag + varint(len(hidden)) + hidden, "model.onnx")


def test_an_empty_file_is_refused():
    with pytest.raises(GraphError, match=r"model\.onnx: empty"):
        check_onnx(b"", "model.onnx")


def refused_or_passed(content: bytes) -> None:
    try:
        check_onnx(content, "model.onnx")
    except GraphError as problem:
        assert str(problem).startswith("model.onnx: ")  # noqa: PT017 (both ways are right)


@given(st.binary(max_size=200))
@example(b"\x3a" + b"\xff" * 9 + b"\x7f")
@example(b"\x3b")
@example(b"\x00\x00")
@example(b"\x80" * 20)
def test_arbitrary_bytes_raise_nothing_else(content):
    refused_or_passed(content)


@given(data=st.data())
def test_a_graph_with_changed_bytes_raises_nothing_else(content, data):
    damaged = bytearray(content)
    places = st.integers(0, len(damaged) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    refused_or_passed(bytes(damaged))


@given(data=st.data())
def test_a_graph_cut_short_raises_nothing_else(content, data):
    refused_or_passed(content[: data.draw(st.integers(0, len(content) - 1))])
