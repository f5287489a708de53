"""The smoothing and the range of every point of a float graph, and the int8 graph with them."""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

import numpy as np
import onnx_ir as ir
from tqdm import tqdm

from polyhead.text.tokenizer import Tokenizer
from polyhead_export.passes.clean import clean
from polyhead_export.passes.quantise_embeddings import QuantiseEmbeddings
from polyhead_export.passes.quantise_linears import QuantiseLinears, linears
from polyhead_export.passes.smooth import Smooth, folds, smoothed
from polyhead_export.quantisation.observe import Observation, encoder_points, observe
from polyhead_export.quantisation.search import Setting, Smoothing, search, search_by_token
from polyhead_export.texts import CalibrationTexts

logger = logging.getLogger(__name__)

# The Mul of a smoothing takes time as its point is wide. With one behind each of MiniLM's 18 points
# that need it, a text takes 6% longer, two thirds of that behind the six of four times the width.
# At half of the error for these, two or three of them go; decisions changed with all and without
# these: 10 and 11 of 1,821 on SST-2, 8 and 10 of 700 on the slots of SNIPS, 13 and 9 of 4,500 on
# CLINC150.
_WORTH = 0.125


@dataclass(frozen=True)
class Plan:
    """Which linears get more than a static scale, by the names of their nodes.

    Attributes:
        per_row: a scale for each token, found while running.
        fp32: left in float.
        float_graph: whether nothing is quantised, embeddings included.
        name: for people.
    """

    per_row: frozenset[str] = frozenset()
    fp32: frozenset[str] = frozenset()
    float_graph: bool = False
    name: str = field(default="static scales", compare=False)

    @property
    def precision(self) -> Literal["fp32", "int8"]:
        """Of the graph, as the manifest names it."""
        return "fp32" if self.float_graph else "int8"

    @property
    def file(self) -> str:
        """Where the graph is, in the folder of a bundle."""
        return f"model.{self.precision}.onnx"


@dataclass(frozen=True)
class CalibratedPoint:
    """How one point is quantised.

    Attributes:
        linears: names of the encoder's linears that read it.
        setting: for a static scale.
        find_by_token: finds `by_token`, which few plans need.
    """

    linears: tuple[str, ...]
    setting: Setting
    find_by_token: Callable[[], Smoothing]

    @cached_property
    def by_token(self) -> Smoothing:
        """Its smoothing where all that reads it has a scale for each token."""
        return self.find_by_token()

    def smoothing(self, plan: Plan) -> Smoothing:
        """How it is smoothed in the graph of a plan."""
        static = set(self.linears) - plan.fp32 - plan.per_row
        return self.setting if static else self.by_token


@dataclass(frozen=True)
class Calibrated:
    """A float graph, and how to quantise it.

    Attributes:
        model: the float graph; not to be changed.
        points: by the name of the tensor.
    """

    model: ir.Model
    points: Mapping[str, CalibratedPoint]

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """Linears with their relative error of the output, the worst first."""
        errors = {
            name: error
            for point in self.points.values()
            for name, error in zip(point.linears, point.setting.errors, strict=True)
        }
        return sorted(errors.items(), key=lambda item: (-item[1], item[0]))

    def alphas(self, plan: Plan) -> dict[str, float | None]:
        """The smoothing of each point in the graph of a plan; None for none."""
        return {name: point.smoothing(plan).alpha for name, point in self.points.items()}


def calibrate(
    model: ir.Model,
    tokenizer: Tokenizer,
    sampled: CalibrationTexts,
    *,
    max_tokens: int,
    known: Mapping[str, CalibratedPoint] | None = None,
) -> Calibrated:
    """Find smoothing and range of every point.

    Args:
        model: the float graph; left as it is.
        tokenizer: of the model.
        sampled: texts to observe.
        max_tokens: longest input.
        known: points that need not be found. No text is run where these are all points.

    Raises:
        CalibrationError: when a value is not finite.
    """
    known = known or {}
    if known.keys() == encoder_points(model.graph).keys():
        return Calibrated(model, known)
    points = _pooled(observe(model, tokenizer, sampled, max_tokens=max_tokens))
    _warn_of_few(points)
    uses = collections.Counter(id(linear.weight) for p in points for linear in p.linears)
    narrowest = min((len(point.low) for point in points), default=0)
    found = {}
    for point in tqdm(points, desc="smooth", unit="point", leave=False):
        shared = any(uses[id(linear.weight)] > 1 for linear in point.linears)
        worth = None if shared else _worth(point, narrowest)
        found[point.name] = known.get(point.name) or CalibratedPoint(
            linears=tuple(str(linear.node.name) for linear in point.linears),
            setting=search(point, worth=worth),
            find_by_token=partial(search_by_token, point, worth=worth),
        )
    return Calibrated(model, found)


def _warn_of_few(points: Sequence[Observation]) -> None:
    tokens = min((point.tokens for point in points), default=0)
    widest = max((len(point.low) for point in points), default=0)
    if tokens < widest:
        logger.warning(
            "the calibration texts have %s tokens, fewer than the %s inputs of the widest linear:"
            " they tell little of which inputs go together, and weights are rounded more by"
            " themselves. More or longer texts would help",
            *(f"{tokens:,}", f"{widest:,}"),
        )


def _pooled(points: Sequence[Observation]) -> list[Observation]:
    """The same, those whose linears share a weight with the moments of all that share it."""
    readers: dict[int, list[Observation]] = {}
    for point in points:
        readers.setdefault(id(point.linears[0].weight), []).append(point)
    return [
        replace(
            point,
            moments=np.sum([p.moments for p in sharing], axis=0),
            tokens=sum(p.tokens for p in sharing),
        )
        if len(sharing := readers[id(point.linears[0].weight)]) > 1
        else point
        for point in points
    ]


def _worth(point: Observation, narrowest: int) -> float:
    """The share of the squared error that smoothing has to take away, by the width of its Mul."""
    if len(point.linears) == 1 and folds(point.linears[0]) is not None:
        return 0.0
    return min(_WORTH * len(point.low) / narrowest, 1.0)


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
    weights = {
        name: weight
        for smoothing in smoothings.values()
        for name, weight in smoothing.weights.items()
        if name not in plan.fp32
    }
    ir.passes.Sequential(
        Smooth(factors, skip=skip),
        QuantiseLinears(ranges, weights, per_row=plan.per_row),
        QuantiseEmbeddings(),
        clean(),
    )(model)
    return model
