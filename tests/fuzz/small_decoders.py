"""Small decoders with random weights, as the two graphs that a bundle has of each."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from polyhead.bundle import Generation
from polyhead.inference.generation import DecoderSessions
from polyhead.inference.session import OnnxSession

HIDDEN, HEADS, SIZE, LAYERS = 8, 2, 4, 2
START, END, OTHER_END = 0, 1, 2


def generation(vocabulary: int = 24, **changes: Any) -> Generation:
    """A spec of the decoders here."""
    given: dict[str, Any] = {
        "vocabulary": vocabulary,
        "layers": LAYERS,
        "heads": HEADS,
        "head_size": SIZE,
        "start": START,
        "end": (END,),
        "max_tokens": 40,
        "default_tokens": 12,
    }
    return Generation(**(given | changes))


class _Graph:
    """Nodes and weights, added one by one."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self.random.normal(size=shape, scale=scale).astype(np.float32))

    def constant(self, value: Any) -> str:
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def __call__(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        to = to or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [to], **attributes))
        return to

    def input(self, name: str, kind: int, shape: list[Any]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, shape: list[Any]) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def heads(self, states: str, to: str = "") -> str:
        """(batch, tokens, hidden) -> (batch, heads, tokens, size)."""
        split = self("Reshape", states, self.constant(np.array([0, 0, HEADS, SIZE])))
        return self("Transpose", split, to=to, perm=[0, 2, 1, 3])

    def attention(self, queries: str, keys: str, values: str, bias: str = "") -> tuple[str, str]:
        """What is attended to, (batch, tokens, hidden), and the weights."""
        scores = self("MatMul", queries, self("Transpose", keys, perm=[0, 1, 3, 2]))
        weights = self("Softmax", self("Add", scores, bias) if bias else scores)
        mixed = self("Transpose", self("MatMul", weights, values), perm=[0, 2, 1, 3])
        return self("Reshape", mixed, self.constant(np.array([0, 0, HIDDEN]))), weights

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "decoder", self.inputs, self.outputs, self.weights)
        opsets = [helper.make_opsetid("", 23)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def cross_graph(spec: Generation, seed: int = 5) -> onnx.ModelProto:
    """The encoder's states into keys and values."""
    graph = _Graph(seed)
    graph.input("states", TensorProto.FLOAT, ["batch", "source", HIDDEN])
    for layer in range(spec.layers):
        for kind in ("key", "value"):
            name = f"cross.{layer}.{kind}"
            graph.heads(graph("MatMul", "states", graph.weight(HIDDEN, HIDDEN)), to=name)
            graph.output(name, ["batch", HEADS, "source", SIZE])
    return graph.model()


def step_graph(spec: Generation, seed: int = 7, scale: float = 2.0) -> onnx.ModelProto:
    """Tokens and what was before into scores; `scale` makes some tokens likelier than others."""
    graph = _Graph(seed)
    tokens = graph.input("tokens", TensorProto.INT64, ["batch", "new"])
    for what in ("past", "cross"):
        for layer in range(spec.layers):
            for kind in ("key", "value"):
                shape = ["batch", HEADS, what, SIZE]
                graph.input(f"{what}.{layer}.{kind}", TensorProto.FLOAT, shape)
    zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
    length = graph("Gather", graph("Shape", "past.0.key"), graph.constant(np.array(2)))
    new = graph("Gather", graph("Shape", tokens), one)
    total = graph("Add", length, new)
    places = graph("Range", length, total, one)  # of the new tokens
    every = graph("Range", zero, total, one)
    ahead = graph(
        "Less",
        graph("Unsqueeze", places, graph.constant(np.array([1]))),
        graph("Unsqueeze", every, graph.constant(np.array([0]))),
    )
    bias = graph("Mul", _cast(graph, ahead), graph.constant(np.float32(-1e9)))
    states = graph(
        "Add",
        graph("Gather", graph.weight(spec.vocabulary, HIDDEN), tokens),
        graph("Gather", graph.weight(spec.max_tokens + 1, HIDDEN), places),
    )
    weights = ""
    for layer in range(spec.layers):
        both = []
        for kind in ("key", "value"):
            own = graph.heads(graph("MatMul", states, graph.weight(HIDDEN, HIDDEN)))
            name = f"present.{layer}.{kind}"
            graph("Concat", f"past.{layer}.{kind}", own, to=name, axis=2)
            graph.output(name, ["batch", HEADS, "present", SIZE])
            both.append(name)
        queries = graph.heads(graph("MatMul", states, graph.weight(HIDDEN, HIDDEN)))
        mixed, _ = graph.attention(queries, *both, bias)
        states = graph("Tanh", graph("Add", states, mixed))
        queries = graph.heads(graph("MatMul", states, graph.weight(HIDDEN, HIDDEN)))
        mixed, weights = graph.attention(queries, f"cross.{layer}.key", f"cross.{layer}.value")
        states = graph("Tanh", graph("Add", states, mixed))
    last = graph("Gather", states, graph.constant(np.array(-1)), axis=1)
    logits = graph("MatMul", last, graph.weight(HIDDEN, spec.vocabulary, scale=scale))
    if spec.copies:
        _mixture(graph, logits, last, weights)
    else:
        graph("Identity", logits, to="scores")
    graph.output("scores", ["batch", spec.vocabulary])
    return graph.model()


def _cast(graph: _Graph, value: str) -> str:
    name = f"value{len(graph.nodes)}"
    graph.nodes.append(helper.make_node("Cast", [value], [name], to=TensorProto.FLOAT))
    return name


def _mixture(graph: _Graph, logits: str, last: str, weights: str) -> None:
    """Log-probabilities of writing a token or copying it; special tokens are not copied."""
    source = graph.input("source", TensorProto.INT64, ["batch", "cross"])
    heads = graph("ReduceMean", weights, graph.constant(np.array([1])), keepdims=0)
    attention = graph("Gather", heads, graph.constant(np.array(-1)), axis=1)
    may = _cast(graph, graph("GreaterOrEqual", source, graph.constant(np.array(0))))
    share = graph(
        "Mul", graph("Sigmoid", graph("MatMul", last, graph.weight(HIDDEN, 1))), attention
    )
    graph("Mul", share, may, to="copied")
    copies = graph("ReduceSum", "copied", graph.constant(np.array([1])), keepdims=1)
    writes = graph("Sub", graph.constant(np.float32(1)), copies)
    written = graph("Mul", writes, graph("Softmax", logits))
    ids = graph("Max", source, graph.constant(np.array(0)))
    both = graph("ScatterElements", written, ids, "copied", axis=1, reduction="add")
    graph("Log", both, to="scores")
    graph.output("copied", ["batch", "cross"])


def sessions(folder: Path, spec: Generation, **graph: Any) -> DecoderSessions:
    """Both graphs, written to a folder and opened."""
    onnx.save(cross_graph(spec), folder / "cross.onnx")
    onnx.save(step_graph(spec, **graph), folder / "step.onnx")
    return DecoderSessions(
        spec,
        OnnxSession(folder / "cross.onnx"),
        OnnxSession(folder / "step.onnx"),
        hidden=HIDDEN,
        head="head",
    )
