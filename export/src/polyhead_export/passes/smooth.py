"""Takes outliers of a few channels from an activation and gives them to the weights behind it.

before: MatMul(x, W)
after:  MatMul(Mul(x, 1 / s), s W)

What attention gives needs no Mul, since its channels are means of those of V:

before: Attention(Q, K, Add(MatMul(y, Wv), bv)), then MatMul(x, W)
after:  Attention(Q, K, Add(MatMul(y, Wv / s), bv / s)), then MatMul(x, s W)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.passes.quantise_linears import Linear, linears
from polyhead_export.subgraph import add_constant

_V = 2


class Smooth(ir.passes.InPlacePass):
    """Changes no value that the model computes, apart from rounding."""

    def __init__(
        self,
        factors: Mapping[str, NDArray[np.float32]],
        *,
        skip: frozenset[str] = frozenset(),
    ) -> None:
        """Set the factors.

        Args:
            factors: by name of an activation, what each of its channels is divided by, float32
                `(width,)`.
            skip: names of linears that stay as they are.
        """
        self._factors = factors
        self._skip = skip

    def requires(self, model: ir.Model) -> None:
        """Some linear reads each activation that has factors."""
        read = {linear.activation.name for linear in linears(model.graph)}
        if missing := sorted(set(self._factors) - read):
            raise ir.passes.PreconditionError(f"factors of what no linear reads: {missing}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Smooth every activation that has factors."""
        graph = model.graph
        divided: dict[ir.Value, ir.Value] = {}
        modified = False
        for linear in linears(graph):
            factors = self._factors_of(linear)
            if factors is None:
                continue
            modified = True
            fold = folds(linear)
            _multiply_weight(graph, linear, factors)
            if fold is not None:
                _divide_v(graph, *fold, factors)
                continue
            if linear.activation not in divided:
                divided[linear.activation] = _divide(graph, linear, factors)
            linear.node.replace_input_with(0, divided[linear.activation])
        return ir.passes.PassResult(model, modified)

    def ensures(self, model: ir.Model) -> None:
        """Every linear whose input has factors reads it smoothed, or folded into V."""
        named = [linear for linear in linears(model.graph) if self._factors_of(linear) is not None]
        if left := [linear.node.name for linear in named if not _is_folded(linear)]:
            raise ir.passes.PostconditionError(f"not smoothed: {left}")

    def _factors_of(self, linear: Linear) -> NDArray[np.float32] | None:
        if linear.node.name in self._skip:
            return None
        return self._factors.get(linear.activation.name or "")


def smoothed(name: str) -> str:
    """Name of an activation after its Mul."""
    return f"{name}/smoothed"


def folds(linear: Linear) -> tuple[ir.Node, ir.Node] | None:
    """Where the factors of a linear's activation can go without a Mul; None where they cannot.

    MatMul and Add of the linear that makes V, when nothing else reads what lies between the two.
    """
    attention = linear.activation.producer()
    if attention is None or attention.op_type != "Attention":
        return None
    if "q_num_heads" not in attention.attributes or len(linear.activation.uses()) != 1:
        return None
    if _number(attention, "q_num_heads") != _number(attention, "kv_num_heads"):
        return None  # a channel of V is in several channels of the output
    v = attention.inputs[_V] if len(attention.inputs) > _V else None
    bias = v.producer() if v is not None else None
    if bias is None or bias.op_type != "Add" or len(bias.outputs[0].uses()) != 1:
        return None
    product = next((p for x in bias.inputs if x is not None and (p := x.producer())), None)
    if product is None or product.op_type != "MatMul" or len(product.outputs[0].uses()) != 1:
        return None
    constants = [product.inputs[1], next((x for x in bias.inputs if _is_constant(x)), None)]
    return (product, bias) if all(map(_is_own, constants)) else None


def _number(node: ir.Node, name: str) -> int:
    return node.attributes[name].as_int()


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer() and value.const_value is not None


def _is_own(value: ir.Value | None) -> bool:
    return value is not None and _is_constant(value) and len(value.uses()) == 1


def _multiply_weight(graph: ir.Graph, linear: Linear, factors: NDArray[np.float32]) -> None:
    weight = linear.weight.numpy() * factors[:, None]
    linear.node.replace_input_with(1, add_constant(graph, _weight_name(linear), weight))


def _weight_name(linear: Linear) -> str:
    return f"{linear.node.name}/smoothed_weight"


def _is_folded(linear: Linear) -> bool:
    """Whether a linear that reads what attention gives has its factors in its weight and in V's."""
    weight = linear.node.inputs[1]
    return weight is not None and weight.name == _weight_name(linear) and folds(linear) is not None


def _divide(graph: ir.Graph, linear: Linear, factors: NDArray[np.float32]) -> ir.Value:
    name = linear.activation.name
    by = add_constant(graph, f"{name}/smoothing", np.float32(1) / factors)
    node = ir.node("Mul", [linear.activation, by], name=f"{name}/Mul")
    node.outputs[0].name = smoothed(str(name))
    node.outputs[0].type, node.outputs[0].shape = linear.activation.type, linear.activation.shape
    graph.insert_before(linear.node, node)
    return node.outputs[0]


def _divide_v(
    graph: ir.Graph, product: ir.Node, bias: ir.Node, factors: NDArray[np.float32]
) -> None:
    """Column j of V's weight, and of its bias, over the factor of channel j."""
    constant = next(i for i, value in enumerate(bias.inputs) if _is_constant(value))
    for node, place in ((product, 1), (bias, constant)):
        value = node.inputs[place]
        assert value is not None
        assert value.const_value is not None
        array = (value.const_value.numpy() / factors).astype(np.float32)
        node.replace_input_with(place, add_constant(graph, f"{value.name}/smoothed", array))
