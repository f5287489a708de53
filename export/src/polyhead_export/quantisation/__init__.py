"""A stand-in for the interface, until the real one is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from polyhead.tokenizing import Tokenizer
from polyhead_export.calibration import CalibrationTexts, ranges
from polyhead_export.passes import QuantiseLinears
from polyhead_export.passes.quantise_linears import linears


@dataclass(frozen=True)
class Plan:
    """Which linears get what."""

    per_row: frozenset[str] = frozenset()
    fp32: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Calibrated:
    """A float graph with ranges."""

    model: ir.Model
    ranges: Mapping[str, tuple[float, float]]
    ranking: tuple[tuple[str, float], ...]


def calibrate(
    model: ir.Model, tokenizer: Tokenizer, sampled: CalibrationTexts, *, max_tokens: int
) -> Calibrated:
    """Measure."""
    found = ranges(model, tokenizer, sampled, max_tokens=max_tokens)
    errors = {}
    for linear in linears(model.graph):
        if linear.activation.name in found:
            low, high = found[linear.activation.name]
            errors[str(linear.node.name)] = high - low
    ranking = sorted(errors.items(), key=lambda item: -item[1])
    return Calibrated(model, found, tuple(ranking))


def apply(calibrated: Calibrated, plan: Plan) -> ir.Model:
    """Quantise a copy."""
    model = ir.from_proto(ir.to_proto(calibrated.model))
    kept = {
        linear.activation.name for linear in linears(model.graph) if linear.node.name in plan.fp32
    }
    found = {name: pair for name, pair in calibrated.ranges.items() if name not in kept}
    QuantiseLinears(found)(model)
    return model
