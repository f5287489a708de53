"""From a float graph to an int8 one, with a plan for what is too sensitive."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir
from tqdm import tqdm

from polyhead.text.tokenizer import Tokenizer
from polyhead_export.calibration import CalibrationTexts
from polyhead_export.passes.clean import clean
from polyhead_export.passes.quantise_embeddings import QuantiseEmbeddings
from polyhead_export.passes.quantise_linears import QuantiseLinears, linears
from polyhead_export.passes.smooth import Smooth, folds, smoothed
from polyhead_export.quantisation.observe import Observation, observe
from polyhead_export.quantisation.search import Setting, Smoothing, search, search_by_token

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
    """

    per_row: frozenset[str] = field(default_factory=frozenset)
    fp32: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Calibrated:
    """A float graph, and how to quantise it.

    Attributes:
        model: the float graph; not to be changed.
        settings: by point, for a static scale.
        by_token: by point, its smoothing where all that reads it has a scale for each token.
        ranking: linears with their relative error of the output, the worst first.
    """

    model: ir.Model
    settings: Mapping[str, Setting]
    by_token: Mapping[str, Smoothing]
    ranking: tuple[tuple[str, float], ...]

    def smoothings(self, plan: Plan) -> dict[str, Smoothing]:
        """How each point is smoothed in the graph of a plan."""
        readers: dict[str, set[str]] = {name: set() for name in self.settings}
        for linear in linears(self.model.graph):
            readers.get(linear.activation.name or "", set()).add(str(linear.node.name))
        observed = {name for name, _ in self.ranking}
        return {
            name: self.by_token[name] if (read & observed) - plan.fp32 <= plan.per_row else setting
            for (name, setting), read in zip(self.settings.items(), readers.values(), strict=True)
        }

    def alphas(self, plan: Plan) -> dict[str, float | None]:
        """The smoothing of each point in the graph of a plan; None for none."""
        return {name: found.alpha for name, found in self.smoothings(plan).items()}


def calibrate(
    model: ir.Model, tokenizer: Tokenizer, sampled: CalibrationTexts, *, max_tokens: int
) -> Calibrated:
    """Find smoothing and range of every point.

    Args:
        model: the float graph; left as it is.
        tokenizer: of the model.
        sampled: texts to observe.
        max_tokens: longest input.

    Raises:
        CalibrationError: when a value is not finite.
    """
    points = observe(model, tokenizer, sampled, max_tokens=max_tokens)
    uses = collections.Counter(id(linear.weight) for p in points for linear in p.linears)
    narrowest = min((len(point.low) for point in points), default=0)
    settings, by_token, errors = {}, {}, {}
    for point in tqdm(points, desc="smooth", unit="point", leave=False):
        shared = any(uses[id(linear.weight)] > 1 for linear in point.linears)
        worth = None if shared else _worth(point, narrowest)
        setting = settings[point.name] = search(point, worth=worth)
        by_token[point.name] = search_by_token(point, worth=worth)
        for linear, error in zip(point.linears, setting.errors, strict=True):
            errors[str(linear.node.name)] = error
    ranking = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return Calibrated(model, settings, by_token, tuple(ranking))


def apply(calibrated: Calibrated, plan: Plan) -> ir.Model:
    """A quantised copy of the graph, in standard ONNX.

    A linear of a head may read what linears of the encoder read; it was not observed and stays.
    """
    model = ir.from_proto(ir.to_proto(calibrated.model))
    observed = {name for name, _ in calibrated.ranking}
    names = {str(linear.node.name) for linear in linears(model.graph)}
    skip = plan.fp32 | (names - observed)
    smoothings = calibrated.smoothings(plan)
    factors = {n: s.factors for n, s in smoothings.items() if s.factors is not None}
    ranges = {name: (s.low, s.high) for name, s in calibrated.settings.items()}
    ranges |= {smoothed(name): ranges[name] for name in factors}
    ir.passes.Sequential(
        Smooth(factors, skip=skip),
        QuantiseLinears(ranges, per_row=plan.per_row, skip=skip),
        QuantiseEmbeddings(),
        clean(),
    )(model)
    return model


def _worth(point: Observation, narrowest: int) -> float:
    """The share of the squared error that smoothing has to take away, by the width of its Mul."""
    if len(point.linears) == 1 and folds(point.linears[0]) is not None:
        return 0.0
    return min(_WORTH * len(point.low) / narrowest, 1.0)
