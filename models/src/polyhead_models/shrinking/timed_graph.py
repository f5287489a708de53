"""The int8 graph that an encoder's export would be, with random weights: made only to be timed.

It has the operators that polyhead_export writes for onnxruntime's CPU provider: u8 activations
times s8 weights within ±64, with a scale an output channel and the bias inside; what smooths the
activations before; attention without a mask; embeddings in 8 bits. A layer is BERT's. Others have
the same products; rotary positions and gates are not timed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

INPUT = "input_ids"
ROWS = 1024
"""Of the table of embeddings; ids are below."""

_LARGEST = 64  # of s8
_SCALE, _ZERO = np.array(4 / 128, np.float32), np.array(128, np.uint8)  # what is normed lies in ±4
_LABELS = 16


class _Graph:
    """A graph that grows node by node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, operator: str, name: str, *inputs: str | NDArray[Any], **settings: Any) -> str:
        """Add a node and return its output, named as it is; constants are named ``NAME/PLACE``."""
        names = []
        for place, value in enumerate(inputs):
            if isinstance(value, str):
                names.append(value)
            else:
                names.append(f"{name}/{place}")
                self._constants.append(numpy_helper.from_array(value, names[-1]))
        node = helper.make_node(operator, names, [name], name=name, **settings)
        self.nodes.append(node)
        return name

    def random(self, *shape: int) -> NDArray[np.int8]:
        """Weights from -64 to 64."""
        return self._random.integers(-_LARGEST, _LARGEST, shape, np.int8, endpoint=True)

    def model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """All of it, in the versions that an export has."""
        ids = helper.make_tensor_value_info(INPUT, TensorProto.INT64, ["batch", "tokens"])
        logits = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "tokens", _LABELS])
            for name in outputs
        ]
        graph = helper.make_graph(self.nodes, "timed", [ids], logits, self._constants)
        versions = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=10)


def encoder_graph(
    *,
    hidden: int,
    head_size: int,
    tokens: int,
    layers: int,
    attention_heads: int = 0,
    ffn: int = 0,
    heads: int = 1,
) -> onnx.ModelProto:
    """A graph from ids, int64 `(batch, tokens)`, to float32 logits `(batch, tokens, 16)`.

    Args:
        hidden: channels between the layers.
        head_size: channels of an attention head.
        tokens: most of one text.
        layers: how many; the graph without any has embeddings and heads alone.
        attention_heads: of each layer; 0 leaves its first half out.
        ffn: neurons of each layer; 0 leaves its second half out.
        heads: linears on the last hidden states, each an output.
    """
    graph = _Graph()
    x = _embeddings(graph, hidden, tokens)
    for layer in range(layers):
        if attention_heads:
            x = _attention(graph, f"{layer}/attention", x, hidden, attention_heads, head_size)
        if ffn:
            x = _ffn(graph, f"{layer}/ffn", x, hidden, ffn)
    logits = []
    for head in range(heads):
        weight = graph.random(hidden, _LABELS).astype(np.float32)
        product = graph.add("MatMul", f"head/{head}/product", x, weight)
        logits.append(graph.add("Add", f"head/{head}", product, np.zeros(_LABELS, np.float32)))
    return graph.model(logits)


def _embeddings(graph: _Graph, hidden: int, tokens: int) -> str:
    rows = graph.add("Gather", "words/rows", graph.random(ROWS, hidden), INPUT)
    values = graph.add("Cast", "words/values", rows, to=TensorProto.FLOAT)
    each = np.full((ROWS, 1), 1 / _LARGEST, np.float32)
    words = graph.add("Mul", "words", values, graph.add("Gather", "words/scales", each, INPUT))
    length = graph.add("Shape", "length", INPUT, start=1, end=2)
    table = np.zeros((1, tokens, hidden), np.float32)
    start, axis = np.array([0], np.int64), np.array([1], np.int64)
    positions = graph.add("Slice", "positions", table, start, length, axis)
    return _add_and_norm(graph, "embeddings", words, positions, hidden)


def _attention(
    graph: _Graph, name: str, x: str, hidden: int, attention_heads: int, head_size: int
) -> str:
    width = attention_heads * head_size
    u8 = _quantised(graph, f"{name}/in", _smoothed(graph, f"{name}/in", x, hidden))
    q, k, v = (_linear(graph, f"{name}/{part}", u8, hidden, width) for part in "qkv")
    settings = {"q_num_heads": attention_heads, "kv_num_heads": attention_heads, "scale": 1.0}
    mixed = graph.add("Attention", f"{name}/mixed", q, k, v, **settings)
    u8 = _quantised(graph, f"{name}/mixed", mixed)  # its smoothing is in the weights of v
    out = _linear(graph, f"{name}/out", u8, width, hidden)
    return _add_and_norm(graph, name, out, x, hidden)


def _ffn(graph: _Graph, name: str, x: str, hidden: int, ffn: int) -> str:
    u8 = _quantised(graph, f"{name}/in", _smoothed(graph, f"{name}/in", x, hidden))
    neurons = graph.add("Gelu", f"{name}/gelu", _linear(graph, f"{name}/up", u8, hidden, ffn))
    u8 = _quantised(graph, f"{name}/gelu", _smoothed(graph, f"{name}/gelu", neurons, ffn))
    out = _linear(graph, f"{name}/down", u8, ffn, hidden)
    return _add_and_norm(graph, name, out, x, hidden)


def _smoothed(graph: _Graph, name: str, x: str, width: int) -> str:
    return graph.add("Mul", f"{name}/smoothed", x, np.ones(width, np.float32))


def _quantised(graph: _Graph, name: str, x: str) -> str:
    return graph.add("QuantizeLinear", f"{name}/u8", x, _SCALE, _ZERO)


def _linear(graph: _Graph, name: str, u8: str, inputs: int, outputs: int) -> str:
    """What it gives has about the variance of what it reads."""
    weight, bias = graph.random(inputs, outputs), np.zeros(outputs, np.float32)
    scales = np.full(outputs, np.sqrt(3 / inputs) / _LARGEST, np.float32)
    parts = (u8, weight, _SCALE, scales, _ZERO, "", bias)
    return graph.add("MatMulIntegerToFloat", name, *parts, domain="com.microsoft")


def _add_and_norm(graph: _Graph, name: str, x: str, y: str, hidden: int) -> str:
    total = graph.add("Add", f"{name}/sum", x, y)
    weight, bias = np.ones(hidden, np.float32), np.zeros(hidden, np.float32)
    return graph.add("LayerNormalization", f"{name}/norm", total, weight, bias, epsilon=1e-12)
