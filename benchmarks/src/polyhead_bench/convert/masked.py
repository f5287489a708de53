"""A bundle's graph with an attention mask: the same weights for padded batches.

The graph that a bundle runs has no mask, since the runtime never pads. Here every attention gets
one, and every mean over tokens leaves the padding out; nothing else is touched.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from polyhead_bench.errors import PeerFault

_MASK, _BIAS, _WEIGHTS, _COUNT = "attention_mask", "mask/4d", "mask/weights", "mask/count"


def add_mask(source: Path, target: Path) -> None:
    """Write the graph in `source`, in the exact layout, with an ``attention_mask``.

    Raises:
        PeerFault: when it has no node for attention whose mask could be given.
    """
    model = onnx.load(source)
    graph = model.graph
    attentions = [node for node in graph.node if node.op_type == "Attention"]
    if not attentions:
        raise PeerFault(f"{source.name}: no Attention node to give a mask to; a peer without one.")
    for node in attentions:
        node.input.extend([""] * (3 - len(node.input)))
        node.input.append(_BIAS)
    _mask_means(graph)
    (ids,) = [value for value in graph.input if value.name == "input_ids"]
    mask = helper.make_tensor_value_info(_MASK, TensorProto.INT64, None)
    mask.type.tensor_type.shape.CopyFrom(ids.type.tensor_type.shape)
    graph.input.append(mask)
    constants = {"mask/one": [1], "mask/axes": [1, 2], "mask/last": [1], "mask/reduced": [2]}
    for name, values in constants.items():
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
    for place, node in enumerate(_nodes()):
        graph.node.insert(place, node)
    onnx.save(model, target)


def _mask_means(graph: onnx.GraphProto) -> None:
    """A mean over tokens is (ones · hidden) / count: take the mask for the ones, its sum as count.

    The ones are a slice of a constant, see `polyhead_export.passes.StableMean`.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    sums = {}
    for node in graph.node:
        first = made_by.get(node.input[0]) if node.input else None
        if node.op_type == "MatMul" and first is not None and first.op_type == "Slice":
            node.input[0] = _WEIGHTS
            sums[node.output[0]] = node
        elif node.op_type == "Div" and node.input[0] in sums:
            node.input[1] = _COUNT


def _nodes() -> list[onnx.NodeProto]:
    """From the mask `(batch, tokens)`, what the nodes above read."""
    make = helper.make_node
    return [
        make("Cast", [_MASK], ["mask/bool"], to=TensorProto.BOOL),
        make("Unsqueeze", ["mask/bool", "mask/axes"], ["mask/keys"]),
        make("Shape", [_MASK], ["mask/batch"], start=0, end=1),
        make("Shape", [_MASK], ["mask/tokens"], start=1),
        make(
            "Concat",
            ["mask/batch", "mask/one", "mask/tokens", "mask/tokens"],
            ["mask/shape"],
            axis=0,
        ),
        make("Expand", ["mask/keys", "mask/shape"], [_BIAS]),
        make("Cast", [_MASK], ["mask/float"], to=TensorProto.FLOAT),
        make("Unsqueeze", ["mask/float", "mask/last"], [_WEIGHTS]),
        make("ReduceSum", [_WEIGHTS, "mask/reduced"], [_COUNT], keepdims=1),
    ]
