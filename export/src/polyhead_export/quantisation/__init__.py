"""int8 that gives the trained model's answers: observe, search, then rewrite the graph.

A *point* is a tensor that linears of the encoder read. Each has one smoothing and one range, found
by the error that they cause in what its linears compute. A `Plan` says which linears are too
sensitive for that. A bundle stores what was found, so that another export can take it over.
"""

from __future__ import annotations

from polyhead_export.quantisation.calibrate import (
    Calibrated,
    CalibratedPoint,
    Plan,
    calibrate,
    quantised,
)
from polyhead_export.quantisation.stored import StoredCalibration, StoredPoint

__all__ = [
    "Calibrated",
    "CalibratedPoint",
    "Plan",
    "StoredCalibration",
    "StoredPoint",
    "calibrate",
    "quantised",
]
