"""A PyTorch model into an ONNX graph: without a mask, where nothing is padded, or with one."""

from __future__ import annotations

import ast
import collections
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as common
import torch
from torch import Tensor, nn

from polyhead_export.errors import KNOWN, TraceError
from polyhead_models import encoder as encoders
from polyhead_models.model import MultiHeadModel

OPSET = 23

_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class Traced:
    """A graph and what it was made of.

    Attributes:
        model: the graph. Each node is named after the module that it came from; a linear of the
            encoder has a name that starts with ``"encoder."``.
        operators: how often the traced program calls each ATen operator, such as ``"gelu"``.
    """

    model: ir.Model
    operators: collections.Counter[str]


def trace(model: MultiHeadModel, *, padded: bool = False) -> Traced:
    """Trace encoder and heads into one graph with the outputs ``logits/<head>``.

    Its inputs are the model's, token types only where a head needs them. Batch and token dimensions
    are dynamic. The model must be in evaluation mode.

    Args:
        model: encoder and heads.
        padded: whether rows may be padded; the graph then has the input ``attention_mask``, too.

    Raises:
        TraceError: when `torch.export` or the ONNX exporter cannot trace the model.
    """
    outputs = [spec.output for spec in model.specs.values()]
    longest = encoders.capacity(model.encoder)
    dimensions = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", min=2, max=longest)}
    known = {
        "input_ids": torch.arange(14).reshape(2, 7) + 5,
        "token_type_ids": torch.arange(14).reshape(2, 7) % 2,
        "attention_mask": torch.ones(2, 7, dtype=torch.int64).tril(4),
    }
    inputs = [*model.inputs, *(["attention_mask"] if padded else [])]
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                _Flat(model),
                (),
                {name: known[name] for name in inputs},
                dynamic_shapes=dict.fromkeys(inputs, dimensions),
            )
            # Layers above the deepest that a head reads; attention passes for impure by itself,
            # since it could have dropout.
            program.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
            converted = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
                verbose=False,
            )
    except Exception as problem:  # the exporter raises many kinds, its own and others'
        raise TraceError(
            f"{type(model.encoder).__name__}: torch {torch.__version__} cannot trace it:"
            f" {problem}. Known to work: {KNOWN}."
        ) from problem
    if converted is None:
        raise TraceError(f"{type(model.encoder).__name__}: the exporter returned nothing.")
    graph = converted.model
    _name_after_modules(graph)
    common.ClearMetadataAndDocStringPass()(graph)
    return Traced(graph, _operators(program))


def traced_quietly(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    dimensions: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> ir.Model:
    """Trace a module by itself, its nodes named after its parts.

    Args:
        module: in evaluation mode.
        arguments: of its `forward`.
        dimensions: which of their dimensions are dynamic.
        inputs: their names in the graph.
        outputs: names of what it returns.

    Raises:
        Exception: of many kinds, when the exporter cannot.
    """
    with _quiet():
        program = torch.export.export(module, arguments, dynamic_shapes=dimensions)
        converted = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
    if converted is None:
        raise ValueError("the exporter returned nothing")
    _name_after_modules(converted.model)
    common.ClearMetadataAndDocStringPass()(converted.model)
    return converted.model


class _Flat(nn.Module):
    """The model with its outputs in a row."""

    def __init__(self, model: MultiHeadModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        return tuple(self.model(input_ids, attention_mask, token_type_ids).values())


def _operators(program: torch.export.ExportedProgram) -> collections.Counter[str]:
    """Calls that depend on the texts: what is computed from weights alone is folded."""
    given = set(program.graph_signature.user_inputs)
    depends: set[torch.fx.Node] = set()
    found: collections.Counter[str] = collections.Counter()
    for node in program.graph.nodes:
        if node.name in given or not depends.isdisjoint(node.all_input_nodes):
            depends.add(node)
            if hasattr(node.target, "_schema"):
                found[node.target._schema.name.removeprefix("aten::")] += 1
    return found


def _name_after_modules(model: ir.Model) -> None:
    """Names nodes ``<module path>/<operator>`` and the weights of linears after their modules."""
    taken: collections.Counter[str] = collections.Counter()
    for node in model.graph:
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
        module = scopes[-2] if len(scopes) > 1 else ""
        name = f"{module.removeprefix('model.')}/{node.op_type}".lstrip("/")
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of packages that it does not need and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
