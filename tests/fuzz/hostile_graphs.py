"""Graphs of somebody who wants harm: each attack sits in front of an output of a good graph."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as Type
from onnx import helper, numpy_helper

Attack = Callable[[onnx.ModelProto, random.Random], None]
REFUSED: list[Attack] = []
"""Attacks that must end in an error or an answer, soon and in little memory."""
BOUNDED: list[Attack] = []
"""Attacks that look honest, for `polyhead verify --isolated`."""

# Operators of the graphs that polyhead writes and imports, with numbers of inputs, and attributes
# that a kernel may divide by or count with.
_OPERATORS: dict[str, tuple[int, tuple[str, ...]]] = {
    "Attention": (3, ("q_num_heads", "kv_num_heads", "is_causal", "softcap")),
    "Concat": (2, ("axis",)),
    "Conv": (2, ("group", "kernel_shape", "strides", "pads", "dilations")),
    "CumSum": (2, ("reverse",)),
    "DequantizeLinear": (2, ("axis", "block_size")),
    "Gather": (2, ("axis",)),
    "GatherElements": (2, ("axis",)),
    "LayerNormalization": (2, ("axis", "epsilon")),
    "MatMulInteger": (2, ()),
    "Reshape": (2, ("allowzero",)),
    "RotaryEmbedding": (3, ("num_heads", "rotary_embedding_dim", "interleaved")),
    "Softmax": (1, ("axis",)),
    "Split": (2, ("axis", "num_outputs")),
    "Squeeze": (2, ("axes",)),
    "Transpose": (1, ("perm",)),
    "com.microsoft.Attention": (3, ("num_heads", "qkv_hidden_sizes")),
    "com.microsoft.DynamicQuantizeMatMul": (3, ()),
    "com.microsoft.EmbedLayerNormalization": (5, ("epsilon",)),
    "com.microsoft.FusedMatMul": (2, ("transA", "transBatchA", "alpha")),
    "com.microsoft.MatMulIntegerToFloat": (4, ()),
    "com.microsoft.MatMulNBits": (3, ("K", "N", "bits", "block_size")),
    "com.microsoft.MultiHeadAttention": (3, ("num_heads",)),
    "com.microsoft.QAttention": (5, ("num_heads",)),
    "com.microsoft.SkipLayerNormalization": (3, ("epsilon",)),
}
_NUMBERS = (0, 1, -1, 3, 2**31 - 1, -(2**31), 2**31, 2**62, -(2**63))


def _size(random_: random.Random, most: float) -> int:
    return int(most ** random_.random())


def _constant(model: onnx.ModelProto, name: str, values: Any, kind: Any = np.int64) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, kind), name))
    return name


def _number(model: onnx.ModelProto) -> str:
    """A float that is known only when the graph runs."""
    if not any("a_number" in node.output for node in model.graph.node):
        _add(model, "Shape", [model.graph.input[0].name], "a_shape")
        _add(model, "Cast", ["a_shape"], "a_floats", to=Type.FLOAT)
        _add(model, "ReduceMax", ["a_floats"], "a_number", keepdims=0)
    return "a_number"


def _add(
    model: onnx.ModelProto, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any
) -> str:
    domain, _, name = kind.rpartition(".")
    if domain and domain not in [each.domain for each in model.opset_import]:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    model.graph.node.append(
        helper.make_node(name, list(inputs), list(outputs), domain=domain, **attributes)
    )
    return outputs[0]


def _fresh(model: onnx.ModelProto) -> str:
    return f"x{len(model.graph.node)}_{len(model.graph.initializer)}"


def _ending(model: onnx.ModelProto, value: str) -> None:
    """Let the first output wait for a value, and keep its name and sizes."""
    output, own = model.graph.output[0].name, _fresh(model)
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == output:
                node.output[place] = own + "_0"
    _add(model, "Cast", [value], own + "_f", to=Type.FLOAT)
    _constant(model, own + "_all", [-1])
    _constant(model, own + "_zero", 0, np.float32)
    _add(model, "Reshape", [own + "_f", own + "_all"], own + "_flat")
    _add(model, "ReduceMax", [own + "_flat"], own + "_max", keepdims=0)
    _add(model, "Mul", [own + "_max", own + "_zero"], own + "_z")
    _add(model, "Add", [own + "_0", own + "_z"], output)


def _refused(attack: Attack) -> Attack:
    REFUSED.append(attack)
    return attack


def _bounded(attack: Attack) -> Attack:
    BOUNDED.append(attack)
    return attack


@_refused
def loop(model: onnx.ModelProto, random_: random.Random) -> None:
    start, own = _number(model), _fresh(model)
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Sin", ["v"], ["w"])],
        "body",
        [value("i", Type.INT64, []), value("c", Type.BOOL, []), value("v", Type.FLOAT, [])],
        [value("d", Type.BOOL, []), value("w", Type.FLOAT, [])],
    )
    _constant(model, own + "_n", random_.choice((1, 2**31, 2**62)))
    _constant(model, own + "_c", True, np.bool_)
    _ending(model, _add(model, "Loop", [own + "_n", own + "_c", start], own, body=body))


@_refused
def branches(model: onnx.ModelProto, random_: random.Random) -> None:
    own, inner = _fresh(model), None
    for depth in range(random_.randint(1, 14)):
        output = helper.make_tensor_value_info(f"b{depth}", Type.FLOAT, [])
        node = helper.make_node("Identity", [_number(model)], [f"b{depth}"])
        if inner is not None:
            node = helper.make_node(
                "If", [own + "_c"], [f"b{depth}"], then_branch=inner, else_branch=inner
            )
        inner = helper.make_graph([node], f"g{depth}", [], [output])
    _constant(model, own + "_c", True, np.bool_)
    _add(model, "If", [own + "_c"], own, then_branch=inner, else_branch=inner)
    _ending(model, own)


@_refused
def functions(model: onnx.ModelProto, random_: random.Random) -> None:
    domain, versions = "com.microsoft", [helper.make_opsetid("", 17)]
    versions.append(helper.make_opsetid(domain, 1))
    depth = random_.randint(0, 30)
    for number in range(depth + 1):
        kind = {"domain": domain} if number else {}
        name = f"F{number - 1}" if number else "Sin"
        twice = [helper.make_node(name, [a], [b], **kind) for a, b in ("xm", "my")]
        model.functions.append(
            helper.make_function(domain, f"F{number}", ["x"], ["y"], twice, versions)
        )
    _ending(model, _add(model, f"{domain}.F{depth}", [_number(model)], _fresh(model)))


@_refused
def many_nodes(model: onnx.ModelProto, random_: random.Random) -> None:
    value, chained = _number(model), random_.random() < 0.5
    kind, inputs = random_.choice((("Identity", 1), ("Sin", 1), ("Add", 2), ("Max", 9)))
    for number in range(_size(random_, 2e5 / inputs)):
        made = _add(model, kind, [value] * inputs, f"many{number}")
        value = made if chained else value
    _ending(model, value)


@_refused
def many_weights(model: onnx.ModelProto, random_: random.Random) -> None:
    for number in range(_size(random_, 3e5)):
        model.graph.initializer.add(name=f"w{number}", data_type=1, dims=[0])


@_refused
def much_beside_weights(model: onnx.ModelProto, random_: random.Random) -> None:
    count = _size(random_, 2e6)
    kind = random_.choice(("ints", "notes", "sizes", "name", "values", "names"))
    if kind == "ints":
        model.graph.node[0].attribute.add(name="ints", type=7, ints=range(count))
    elif kind == "notes":
        for _ in range(count):
            model.metadata_props.add(key="k", value="v")
    elif kind == "sizes":
        value = model.graph.value_info.add(name="v").type.tensor_type
        value.elem_type = 1
        for _ in range(count):
            value.shape.dim.add(dim_value=1)
    elif kind == "values":
        for number in range(count):
            model.graph.value_info.add(name=f"v{number}")
    elif kind == "name":
        model.graph.node[0].name = "n" * 20 * count
    else:
        model.graph.node[0].input.extend([""] * count)


@_refused
def sparse(model: onnx.ModelProto, random_: random.Random) -> None:
    values = helper.make_tensor("sp", Type.FLOAT, [1], [1.0])
    places = helper.make_tensor("sp_i", Type.INT64, [1], [random_.choice((0, 2**33, -(2**20)))])
    tensor = helper.make_sparse_tensor(values, places, [2 ** random_.randint(1, 50)])
    if random_.random() < 0.5:
        model.graph.sparse_initializer.append(tensor)
        _ending(model, "sp")
    else:
        _ending(model, _add(model, "Constant", [], _fresh(model), sparse_value=tensor))


@_refused
def texts(model: onnx.ModelProto, random_: random.Random) -> None:
    own = _fresh(model)
    if random_.random() < 0.5:
        _add(model, "Cast", [_number(model)], own, to=Type.STRING)
    else:
        model.graph.initializer.append(helper.make_tensor(own, Type.STRING, [1], [b"1"]))
    _ending(model, own)


@_refused
def outside(model: onnx.ModelProto, random_: random.Random) -> None:
    own = _fresh(model)
    tensor = helper.make_tensor(own, Type.FLOAT, [4], np.zeros(4, np.float32).tobytes(), raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = Type.EXTERNAL
    place = random_.choice(("/etc/passwd", "../golden.json", "*/_ORT_MEM_ADDR_/*", ""))
    tensor.external_data.add(key="location", value=place)
    tensor.external_data.add(key="offset", value=random_.choice(("0", "4096", "-1")))
    model.graph.initializer.append(tensor)
    _ending(model, own)


@_refused
def foreign(model: onnx.ModelProto, random_: random.Random) -> None:
    kind = random_.choice(("evil.Op", "ai.onnx.ml.TreeEnsemble", "com.microsoft.EPContext"))
    options: dict[str, Any] = {"embed_mode": 0, "ep_cache_context": "/etc/passwd", "source": "x"}
    _add(model, kind, [_number(model)], _fresh(model), **options if "EP" in kind else {})
    _ending(model, model.graph.node[-1].output[0])


@_refused
def sizes_that_lie(model: onnx.ModelProto, random_: random.Random) -> None:
    weight = random_.choice(model.graph.initializer)
    place = random_.randrange(max(1, len(weight.dims)))
    del weight.dims[place : place + random_.choice((0, 1))]
    weight.dims.insert(place, random_.choice(_NUMBERS))


@_refused
def another_kind_of_weight(model: onnx.ModelProto, random_: random.Random) -> None:
    weight = random_.choice(model.graph.initializer)
    weight.data_type = random_.choice((*range(24), 99, 2**31 - 1))


@_refused
def odd_interface(model: onnx.ModelProto, random_: random.Random) -> None:
    value = random_.choice((*model.graph.input, *model.graph.output))
    tensor, what = value.type.tensor_type, random_.choice(("kind", "rank", "size", "name", "more"))
    if what == "kind":
        tensor.elem_type = random_.choice((1, 6, 7, 8, 9, 10, 11, 16))
    elif what == "rank":
        del tensor.shape.dim[random_.randrange(2) :]
    elif what == "size":
        tensor.shape.dim[0].dim_value = random_.choice((0, 1, 7, 2**40, -1))
    elif what == "name":
        value.name = random_.choice(("x", "attention_mask", "", "\x1b[2J"))
    else:
        model.graph.input.append(helper.make_tensor_value_info("z", Type.INT64, ["a", "b"]))


@_refused
def odd_logits(model: onnx.ModelProto, random_: random.Random) -> None:
    """An output of other sizes or of another type than declared, or without numbers."""
    output, own = random_.choice(model.graph.output), _fresh(model)
    for node in model.graph.node:
        node.output[:] = [own if name == output.name else name for name in node.output]
    del output.type.tensor_type.shape.dim[:]
    what = random_.choice(("nan", "inf", "flat", "more", "none", "int", "bool", "scalar"))
    if what in ("nan", "inf"):
        _constant(model, own + "_c", float(what), np.float32)
        _add(model, "Add", [own, own + "_c"], output.name)
    elif what in ("int", "bool"):
        kind = output.type.tensor_type.elem_type = {"int": Type.INT64, "bool": Type.BOOL}[what]
        _add(model, "Cast", [own], output.name, to=kind)
    elif what == "flat":
        _add(model, "Reshape", [own, _constant(model, own + "_c", [-1])], output.name)
    elif what == "scalar":
        _add(model, "ReduceMax", [own], output.name, keepdims=0)
    elif what == "more":
        _add(model, "Concat", [own, own], output.name, axis=random_.choice((0, 1, -1)))
    else:
        for name, number in (("_a", 0), ("_b", 0)):
            _constant(model, own + name, [number])
        _add(model, "Slice", [own, own + "_a", own + "_b"], output.name)
    output.type.tensor_type.ClearField("shape")


@_refused
def odd_operators(model: onnx.ModelProto, random_: random.Random) -> None:
    """Kernels that honest graphs use, with numbers that none of these has."""
    kind, (inputs, names) = random_.choice(list(_OPERATORS.items()))
    own = _fresh(model)
    attributes = {
        name: [random_.choice(_NUMBERS)] * random_.randrange(4)
        if name in ("kernel_shape", "strides", "pads", "dilations", "perm", "axes")
        or name == "qkv_hidden_sizes"
        else random_.choice((0.0, 1e38, float("nan")))
        if name in ("epsilon", "softcap", "alpha")
        else random_.choice(_NUMBERS)
        for name in names
        if random_.random() < 0.8
    }
    given = []
    for number in range(inputs):
        kind_of = random_.choice((np.float32, np.float32, np.int64, np.uint8, np.int32))
        sizes = [random_.choice((0, 1, 1, 2, 3, 4, 64)) for _ in range(random_.randrange(5))]
        values = np.full(sizes, random_.choice((0, 1, 5, -1 if kind_of != np.uint8 else 7)))
        given.append(_constant(model, f"{own}_{number}", values, kind_of))
    if random_.random() < 0.5:  # so that it is not computed at load
        _add(model, "Mul", [given[0], _number(model)], own + "_0r")
        given[0] = own + "_0r"
    _ending(model, _add(model, kind, given, own, **attributes))


@_refused
def far_outside(model: onnx.ModelProto, random_: random.Random) -> None:
    own, place = _fresh(model), random_.choice((2**40, -(2**40), 2**31, 10**6, -1))
    data = _constant(model, own + "_d", np.zeros(4), np.float32)
    at = _constant(model, own + "_i", [[place]])
    kind = random_.choice(("GatherND", "Gather", "ScatterND", "GatherElements"))
    given = [data, at]
    if kind == "ScatterND":
        given.append(_constant(model, own + "_u", np.ones(1), np.float32))
    if kind == "GatherElements":
        given[1] = _constant(model, own + "_j", [place])
    _ending(model, _add(model, kind, given, own))


@_refused
def versions(model: onnx.ModelProto, random_: random.Random) -> None:
    if random_.random() < 0.5:
        model.ir_version = random_.choice((0, -1, 2**31))
    else:
        model.opset_import[0].version = random_.choice((0, -1, 6, 10**9, 2**62))


@_refused
def session_settings(model: onnx.ModelProto, _: random.Random) -> None:
    for key in ("ort_config", "session.optimized_model_filepath"):
        model.metadata_props.add(key=key, value="hostile.onnx")


@_refused
def by_chance(model: onnx.ModelProto, random_: random.Random) -> None:
    kind = random_.choice(("RandomNormal", "RandomUniform"))
    _ending(model, _add(model, kind, [], _fresh(model), shape=[4]))


@_bounded
def doublings(model: onnx.ModelProto, random_: random.Random) -> None:
    value = _constant(model, _fresh(model), [1], np.float32)
    if random_.random() < 0.5:
        value = _add(model, "Mul", [value, _number(model)], value + "_r")
    for number in range(random_.randint(29, 40)):
        value = _add(model, "Concat", [value, value], f"double{number}", axis=0)
    _ending(model, value)


@_bounded
def allocations(model: onnx.ModelProto, random_: random.Random) -> None:
    own, size = _fresh(model), int(10 ** random_.uniform(8.7, 18))
    if random_.random() < 0.5:
        _add(model, "ConstantOfShape", [_constant(model, own + "_s", [size])], own)
    else:
        sizes = _constant(model, own + "_s", [size])
        _add(model, "Expand", [_number(model), sizes], own)
    _ending(model, own)


@_bounded
def long_work(model: onnx.ModelProto, random_: random.Random) -> None:
    own, size = _fresh(model), random_.randint(8_000, 12_000)
    sizes = _constant(model, own + "_s", [size, size])
    square = _add(model, "Expand", [_number(model), sizes], own + "_x")
    _ending(model, _add(model, "MatMul", [square, square], own))


def hostile(good: bytes, random_: random.Random, attacks: list[Attack]) -> tuple[bytes, list[str]]:
    """A graph with one to three attacks, and their names."""
    model = onnx.load_model_from_string(good)
    chosen = random_.sample(attacks, min(len(attacks), random_.choice((1, 1, 1, 2, 3))))
    for attack in chosen:
        attack(model, random_)
    return bytes(model.SerializeToString()), [attack.__name__ for attack in chosen]
