"""From a float graph to an int8 one."""

from __future__ import annotations

import onnx_ir as ir

from polyhead_export.passes.clean import clean
from polyhead_export.passes.quantise_embeddings import QuantiseEmbeddings
from polyhead_export.passes.quantise_linears import QuantiseLinears, linears
from polyhead_export.passes.smooth import Smooth, smoothed
from polyhead_export.quantisation.calibrate import Calibrated, Plan


def quantised(calibrated: Calibrated, plan: Plan) -> ir.Model:
    """A quantised copy of the graph, in standard ONNX.

    A linear of a head may read what linears of the encoder read; it was not observed and stays.
    """
    model = ir.from_proto(ir.to_proto(calibrated.model))
    observed = {name for point in calibrated.points.values() for name in point.linears}
    names = {str(linear.node.name) for linear in linears(model.graph)}
    skip = plan.fp32 | (names - observed)
    smoothings = {name: point.smoothing(plan) for name, point in calibrated.points.items()}
    factors = {n: s.factors for n, s in smoothings.items() if s.factors is not None}
    ranges = {n: (p.setting.low, p.setting.high) for n, p in calibrated.points.items()}
    ranges |= {smoothed(name): ranges[name] for name in factors}
    ir.passes.Sequential(
        Smooth(factors, skip=skip),
        QuantiseLinears(ranges, per_row=plan.per_row, skip=skip),
        QuantiseEmbeddings(),
        clean(),
    )(model)
    return model
