"""Quantised linears to the fastest kernel of onnxruntime's CPU provider.

before: MatMul(DequantizeLinear(x8), DequantizeLinear(W8)) + bias
after:  MatMulIntegerToFloat(x8, W8, …, bias)

u8 activations times s8 weights with the bias inside is the only int8 path of onnxruntime 1.32 that
is fast on every CPU with VNNI: DynamicQuantizeMatMul, QAttention and U8U8 were measured slower.
All else stays in standard ONNX, which is fastest there: SkipLayerNormalization, BiasGelu and
MultiHeadAttention were slower than Add + LayerNormalization, Gelu and Attention.
"""

from __future__ import annotations

import onnx_ir as ir

from polyhead_export.subgraph import put_in_place

_DOMAIN = "com.microsoft"


class LowerToOrtCpu(ir.passes.InPlacePass):
    """Requires QuantizeLinear/DequantizeLinear pairs around linears."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Lower every quantised linear."""
        linears = [n for n in model.graph if n.op_type == "MatMul" and _restored(n) is not None]
        for node in linears:
            _lower(model.graph, node)
        if linears:
            model.graph.opset_imports[_DOMAIN] = 1
        return ir.passes.PassResult(model, bool(linears))

    def ensures(self, model: ir.Model) -> None:
        """No linear multiplies restored floats any more."""
        left = [n.name for n in model.graph if n.op_type == "MatMul" and _restored(n) is not None]
        if left:
            raise ir.passes.PostconditionError(f"not lowered: {left}")


def _restored(node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    """The two DequantizeLinear nodes that feed a MatMul."""
    left, right = (v.producer() if v is not None else None for v in node.inputs)
    if left is None or right is None:
        return None
    if left.op_type != "DequantizeLinear" or right.op_type != "DequantizeLinear":
        return None
    return left, right


def _lower(graph: ir.Graph, node: ir.Node) -> None:
    pair = _restored(node)
    assert pair is not None
    (x, x_scale, x_zero), (w, w_scale, w_zero) = pair[0].inputs, pair[1].inputs
    last, bias = _bias(node)
    inputs = [
        x,
        w,
        x_scale,
        w_scale,
        x_zero,
        _unless_zero(w_zero),
        *([] if bias is None else [bias]),
    ]
    fused = ir.Node(_DOMAIN, "MatMulIntegerToFloat", inputs, name=node.name)
    put_in_place(graph, last.outputs[0], [fused], remove=list(dict.fromkeys([last, node])))


def _unless_zero(zero: ir.Value | None) -> ir.Value | None:
    """No zero points where all are 0: the kernel need not add them up, 1% of a text's time."""
    constant = zero.const_value if zero is not None else None
    return zero if constant is None or constant.numpy().any() else None


def _bias(node: ir.Node) -> tuple[ir.Node, ir.Value | None]:
    """The Add of a constant vector behind a MatMul, with that vector; else the MatMul itself."""
    uses = tuple(node.outputs[0].uses())
    if len(uses) != 1 or uses[0].node.op_type != "Add" or node.outputs[0].is_graph_output():
        return node, None
    add = uses[0].node
    bias = next((v for v in add.inputs if v is not None and v.is_initializer()), None)
    if bias is None or bias.const_value is None or not _one_a_channel(node, bias.const_value):
        return node, None
    return add, bias


def _one_a_channel(node: ir.Node, bias: ir.TensorProtocol) -> bool:
    """Whether a bias has as many elements as the quantised weight has columns."""
    pair = _restored(node)
    value = pair[1].inputs[0] if pair is not None else None
    weight = value.const_value if value is not None else None
    return weight is not None and list(bias.shape) == [weight.shape[-1]]
