"""Graphs that compute mostly the same as one graph, by onnx-ir's own passes.

before: x -> encoder -> logits/topic and x -> the same encoder -> logits/entities
after:  x -> encoder -> logits/topic, logits/entities
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence

import onnx_ir as ir
import onnx_ir.passes.common as common

from polyhead_export.passes.clean import deduplicated

MOST_BYTES = 2**31 - 2**20
"""Of weights: a protobuf message holds 2 GiB, and the operators need some of it."""

_SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


class NotMerged(Exception):
    """Why graphs stay apart; the message ends a sentence."""


def union(models: Sequence[ir.Model], outputs: Sequence[Mapping[str, str]]) -> ir.Model:
    """One model with the outputs of all.

    Args:
        models: at least one; they are used up.
        outputs: for each, new names of its outputs.

    Raises:
        NotMerged: when they cannot stand in one model, or less than half of their operators are the
            same: this would save little, and a call for the heads of one would compute the other.
    """
    for model, names in zip(models, outputs, strict=True):
        _prepare(model, names)
    whole, *others = models
    first = _operators(whole)
    for other in others:
        _refuse_unlike(whole, other)
        before, own = _operators(whole), _operators(other)
        _append(whole, other)
        declared = {value.name: value for value in whole.graph.outputs}
        _once()(whole)
        for value in whole.graph.outputs:  # one that was inside another graph says less of itself
            value.type, value.shape = declared[value.name].type, declared[value.name].shape
        shared = before + own - _operators(whole)
        if 2 * shared < max(first, own):
            raise NotMerged(
                f"only {shared} of {own} operators compute the same; int8 graphs agree when they"
                " were exported with --calibrated-as"
            )
    tensors = (value.const_value for value in whole.graph.initializers.values())
    if sum(tensor.nbytes for tensor in tensors if tensor is not None) > MOST_BYTES:
        raise NotMerged("together they are larger than 2 GB")
    return whole


def _operators(model: ir.Model) -> int:
    """Without `Identity`, which computes nothing."""
    return sum(node.op_type != "Identity" for node in model.graph)


def _once() -> ir.passes.Sequential:
    """Nothing twice and nothing idle.

    Without onnx-ir's `IdentityEliminationPass`: of `Identity` between two outputs, which CSE leaves
    for two equal ones, version 1.1 makes two outputs of one name.
    """
    return ir.passes.Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True),
        deduplicated(),
        common.RemoveUnusedNodesPass(),
    )


def rename_outputs(model: ir.Model, names: Mapping[str, str]) -> None:
    """Give outputs other names."""
    for value in model.graph.outputs:
        value.name = names[str(value.name)]


def _prepare(model: ir.Model, names: Mapping[str, str]) -> None:
    """Refuse what cannot be merged; take out what it computes twice itself."""
    if model.functions or any(
        attribute.type in _SUBGRAPHS
        for node in model.graph
        for attribute in node.attributes.values()
    ):
        raise NotMerged("one has functions or control flow")
    if any(value.producer() is None for value in model.graph.outputs):
        raise NotMerged("an output of one is an input or a weight")
    if {value.name for value in model.graph.inputs} & model.graph.initializers.keys():
        raise NotMerged("an input of one has a weight as its default")
    rename_outputs(model, names)
    _once()(model)


def _refuse_unlike(first: ir.Model, other: ir.Model) -> None:
    for domain in first.opset_imports.keys() & other.opset_imports.keys():
        if first.opset_imports[domain] != other.opset_imports[domain]:
            raise NotMerged("their versions of the operators differ")
    if _inputs(first) != _inputs(other):
        raise NotMerged("their inputs differ")


def _inputs(model: ir.Model) -> dict[str | None, object]:
    """Type and fixed sizes by name."""
    return {
        value.name: (value.dtype, [d if isinstance(d, int) else None for d in value.shape or ()])
        for value in model.graph.inputs
    }


def _append(whole: ir.Model, other: ir.Model) -> None:
    """Move all of `other` behind `whole`; names that both have get a number, except of outputs."""
    graph, more = whole.graph, other.graph
    outputs, weights, nodes = list(more.outputs), list(more.initializers.values()), list(more)
    own = {value.name: value for value in graph.inputs}
    if clash := {v.name for v in outputs} & {*own, *(v.name for v in graph.outputs)}:
        raise NotMerged(f"both have a value {sorted(map(str, clash))[0]!r}")
    for value in more.inputs:
        value.replace_all_uses_with(own[value.name])
    more.outputs.clear()
    more.initializers.clear()
    more.remove(nodes)
    for weight in weights:
        weight.name = free_name(str(weight.name), graph.initializers)
        graph.register_initializer(weight)
    graph.extend(nodes)
    graph.outputs.extend(outputs)
    common.NameFixPass()(whole)
    whole.opset_imports.update(other.opset_imports)
    whole.ir_version = max(whole.ir_version, other.ir_version)


def free_name(name: str, taken: Container[str], suffix: str = "") -> str:
    """Name and suffix, with the first number between them that makes it one that is not taken."""
    numbered = (f"{name}-{number}{suffix}" for number in itertools.count(2))
    return next(n for n in itertools.chain([f"{name}{suffix}"], numbered) if n not in taken)
