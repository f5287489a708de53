"""`calibration.json` of an int8 bundle: what another export needs to quantise in the same way.

Points go by the linears that read them, whose names are those of the encoder's modules; names of
tensors are the exporter's. What a plan leaves in float, or gives a scale for each token, is stored
with the factors that it uses there. Int8 weights are in the graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead.system.schema import parse, plain, read_json
from polyhead_export.errors import DeployedError
from polyhead_export.quantisation.calibrate import Calibrated, CalibratedPoint, Plan
from polyhead_export.quantisation.observe import encoder_points
from polyhead_export.quantisation.search import Setting

_LIMIT = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class StoredPoint:
    """What was found for one point.

    Attributes:
        linears: names of the encoder's linears that read it.
        low: smallest value that is kept, after smoothing.
        high: largest value that is kept.
        alpha: of the smoothing; None for none.
        factors: what each channel is divided by, float32 values; None for none.
    """

    linears: tuple[str, ...]
    low: float
    high: float
    alpha: float | None = None
    factors: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class StoredCalibration:
    """The quantisation of a graph.

    Attributes:
        points: in the graph's order.
        per_row: linears with a scale for each token.
        fp32: linears that were left in float.
    """

    points: tuple[StoredPoint, ...]
    per_row: tuple[str, ...]
    fp32: tuple[str, ...]

    @property
    def plan(self) -> Plan:
        """Which linears get more than a static scale."""
        return Plan(per_row=frozenset(self.per_row), fp32=frozenset(self.fp32))

    @classmethod
    def of(cls, calibrated: Calibrated, plan: Plan) -> StoredCalibration:
        """What the graph of a plan was quantised with."""
        return cls(
            points=tuple(_stored(point, plan) for point in calibrated.points.values()),
            per_row=tuple(sorted(plan.per_row)),
            fp32=tuple(sorted(plan.fp32)),
        )

    @classmethod
    def read(cls, path: Path) -> StoredCalibration:
        """Read the file.

        Raises:
            DeployedError: when it is not as `write` writes it.
        """
        data = read_json(path, limit_bytes=_LIMIT, error=DeployedError)
        return parse(cls, data, where=str(path), error=DeployedError)

    def write(self, path: Path) -> None:
        """Write the file."""
        text = json.dumps(plain(self), allow_nan=False, separators=(",", ":"))
        path.write_text(text + "\n", encoding="utf-8")

    def points_of(
        self, graph: ir.Graph, weights: Mapping[str, NDArray[np.int8]]
    ) -> Mapping[str, CalibratedPoint]:
        """The points of another float graph over the same encoder, by the names of its tensors.

        A graph that reads deeper layers has points more, which are not among them.

        Args:
            graph: the float graph.
            weights: `int8_weights` of the graph that this is the quantisation of.

        Raises:
            DeployedError: when the graph does not have one of the points.
        """
        found = {
            frozenset(str(linear.node.name) for linear in readers): name
            for name, readers in encoder_points(graph).items()
        }
        if missing := [p for p in self.points if frozenset(p.linears) not in found]:
            raise DeployedError(
                f"the new graph does not have the linears {', '.join(missing[0].linears)} of the"
                " deployed one next to each other. It was exported with other versions; export all"
                " heads anew, without --calibrated-as."
            )
        return {
            found[frozenset(point.linears)]: _calibrated(point, weights) for point in self.points
        }


def int8_weights(graph: ir.Graph) -> dict[str, NDArray[np.int8]]:
    """The int8 weights of a quantised graph, by the names of its linears."""
    found = {}
    for node in graph:
        if node.op_type in ("MatMul", "MatMulIntegerToFloat"):
            weight = node.inputs[1]
            restored = None if weight is None else weight.producer()
            if restored is not None and restored.op_type == "DequantizeLinear":
                weight = restored.inputs[0]
            constant = None if weight is None else weight.const_value
            if constant is not None and constant.dtype == ir.DataType.INT8:
                found[str(node.name)] = constant.numpy()
    return found


def _stored(point: CalibratedPoint, plan: Plan) -> StoredPoint:
    smoothing = point.smoothing(plan)
    return StoredPoint(
        linears=point.linears,
        low=point.setting.low,
        high=point.setting.high,
        alpha=smoothing.alpha,
        factors=None if smoothing.factors is None else _digits(smoothing.factors),
    )


def _digits(values: NDArray[np.float32]) -> tuple[float, ...]:
    """Each number in the nine digits that identify a float32."""
    return tuple(float(f"{value:.9g}") for value in values)


def _calibrated(point: StoredPoint, weights: Mapping[str, NDArray[np.int8]]) -> CalibratedPoint:
    factors = None if point.factors is None else np.array(point.factors, np.float32)
    errors = (0.0,) * len(point.linears)  # nobody chooses a plan by them
    own = {name: weights[name] for name in point.linears if name in weights}
    setting = Setting(point.alpha, factors, errors, own, point.low, point.high)
    return CalibratedPoint(point.linears, setting, lambda: setting)
