"""The decoders of heads that write, as files of a bundle: float, then int8 where nothing is lost.

int8 has the weights of all linears to the nearest of 127 steps and a scale for each row of what
they read, so that a text's answer does not depend on its company; the embedding has a scale a row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import onnx_ir as ir

from polyhead.bundle import DecoderGraph, DecoderGraphs
from polyhead.bundle.digest import entry
from polyhead.heads import HeadSpec
from polyhead.inference.generation import DecoderSessions
from polyhead.inference.session import OnnxSession
from polyhead_export import decoder_graphs, graphs
from polyhead_export.gate import SelectedPlan, tried_plan
from polyhead_export.passes.clean import clean
from polyhead_export.passes.quantise_embeddings import QuantiseEmbeddings
from polyhead_export.passes.quantise_linears import QuantiseLinears, linears
from polyhead_export.quality import GraphComparison
from polyhead_export.quantisation.calibrate import Plan
from polyhead_export.quantisation.rounding import nearest
from polyhead_export.settings import ExportSettings
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.model import MultiHeadModel

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "int8"]
_PARTS = ("cross", "step")


class DecoderFiles:
    """The two graphs of each head that writes, in the folder of a bundle.

    What stands there is what an engine over the folder runs: int8 where it was made.
    """

    def __init__(self, model: MultiHeadModel, folder: Path) -> None:
        """Nothing is written yet.

        Args:
            model: in evaluation mode.
            folder: of the bundle.
        """
        found = model.networks.items()
        self._networks = {n: each for n, each in found if isinstance(each, GenerationNetwork)}
        self._folder = folder
        self._float: dict[str, tuple[ir.Model, ir.Model]] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def write(self) -> None:
        """Trace the float graphs, and hold them against PyTorch.

        Raises:
            TraceError: when a decoder cannot be traced.
            ParityError: when a graph gives other numbers.
        """
        for name, network in self._networks.items():
            logger.info("tracing the decoder of %s", name)
            made = decoder_graphs.cross_graph(network), decoder_graphs.step_graph(network)
            paths = [path(self._folder, name, part, "fp32") for part in _PARTS]
            for graph, file in zip(made, paths, strict=True):
                graphs.save(graph, file)
            tolerance = decoder_graphs.TOLERANCE
            error = decoder_graphs.check(network, paths[0], paths[1], tolerance=tolerance)
            logger.info("decoder of %s: largest difference from PyTorch %.1e", name, error)
            self._float[name] = made

    def quantise(self, target: Literal["ort-cpu", "onnx"], *, scores: bool) -> None:
        """Write int8 graphs next to the float ones.

        Args:
            target: what they are lowered to.
            scores: whether the linear that gives the scores is int8, too.
        """
        for name, both in self._float.items():
            shape = self._networks[name].decoder.shape
            for part, traced in zip(_PARTS, both, strict=True):
                kept = None if scores else shape.shortlist or shape.vocabulary
                model = _quantised(traced, kept)
                model = graphs.lowered(model) if target == "ort-cpu" else model
                graphs.save(model, path(self._folder, name, part, "int8"))

    def drop(self, precision: Precision) -> None:
        """Remove the graphs of this precision."""
        for name in self._networks:
            for part in _PARTS:
                path(self._folder, name, part, precision).unlink(missing_ok=True)

    @property
    def entries(self) -> dict[str, DecoderGraphs]:
        """What the manifest says of them."""
        found = {}
        for name in self._networks:
            precision = _precision(self._folder, name)
            cross, step = (
                DecoderGraph(
                    **vars(entry(path(self._folder, name, part, precision))), precision=precision
                )
                for part in _PARTS
            )
            found[name] = DecoderGraphs(cross=cross, step=step)
        return found


def lower_decoders(
    decoders: DecoderFiles,
    selected: SelectedPlan,
    compare: Callable[[Plan], GraphComparison],
    settings: ExportSettings,
) -> SelectedPlan:
    """Take int8 decoders where the heads that write stay within the limits with them.

    Args:
        decoders: written in float.
        selected: the plan of the encoder's graph, with float decoders.
        compare: runs the validation texts through a plan's graph and the decoders in the folder.
        settings: the limits, and what graphs are lowered to.

    Returns:
        The plan with what the decoders that stay in the folder were measured at.
    """
    for scores, said in ((True, "int8 decoders"), (False, "int8 decoders but for their scores")):
        decoders.quantise(settings.target, scores=scores)
        plan = replace(selected.plan, name=f"{selected.plan.name}, {said}")
        tried = tried_plan(plan, compare, settings.limits)
        attempts = (*selected.gate.attempts, tried.attempt)
        gate = replace(selected.gate, attempts=attempts)
        if tried.within:
            decoders.drop("fp32")
            gate = replace(gate, selected=len(attempts) - 1)
            outcome = f"{selected.outcome}; {said}"
            return SelectedPlan(selected.plan, tried.comparison, gate, outcome)
        selected = replace(selected, gate=gate)
    decoders.drop("int8")
    logger.info("decoders stay in float: int8 loses too much")
    return selected


def path(folder: Path, head: str, part: str, precision: Precision) -> Path:
    """Where a graph of a head's decoder is."""
    return folder / f"decoder.{head}.{part}.{precision}.onnx"


def sessions(
    folder: Path, heads: Mapping[str, HeadSpec], hidden: int
) -> Mapping[str, DecoderSessions]:
    """The decoders in a folder, of those of `heads` that write; int8 where there is such a graph.

    Args:
        folder: of the bundle.
        heads: by name.
        hidden: width of the encoder's states.
    """
    found = {}
    for name, spec in heads.items():
        if spec.generation is not None:
            precision = _precision(folder, name)
            cross, step = (OnnxSession(path(folder, name, part, precision)) for part in _PARTS)
            found[name] = DecoderSessions(spec.generation, cross, step, hidden=hidden, head=name)
    return MappingProxyType(found)


def _precision(folder: Path, name: str) -> Precision:
    return "int8" if path(folder, name, "step", "int8").is_file() else "fp32"


def _quantised(traced: ir.Model, kept: int | None) -> ir.Model:
    """A copy with int8 linears; those with `kept` outputs stay in float."""
    model = ir.from_proto(ir.to_proto(traced))
    weights = {
        str(linear.node.name): nearest(linear.weight.numpy())
        for linear in linears(model.graph)
        if linear.weight.shape[1] != kept
    }
    ir.passes.Sequential(
        QuantiseLinears({}, weights, per_row=frozenset(weights)), QuantiseEmbeddings(), clean()
    )(model)
    return model
