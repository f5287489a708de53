"""Which graphs of several bundles become one file, with the logits and the stability of before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead import Engine, GraphError, HeadSpec
from polyhead.bundle import Bundle, Certificate, Graph
from polyhead.bundle.head_spec import strides
from polyhead.bundle.onnx_check import check_onnx
from polyhead.inference.backend import Backend
from polyhead.inference.session import OnnxSession
from polyhead.text.encoding import Input
from polyhead.text.tokenizer import Tokenizer
from polyhead.verify import stability
from polyhead_export.combining.union import NotMerged, union
from polyhead_export.padding import PaddedBackend

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GraphUse:
    """A graph as one sub-model has it; `names` are new names of its outputs."""

    bundle: Bundle
    graph: Graph
    names: Mapping[str, str]

    @property
    def kind(self) -> tuple[object, ...]:
        """What graphs that become one have in common, whatever they compute."""
        graph, whole = self.graph, len(self.graph.heads) == len(self.bundle.manifest.heads)
        return graph.precision, graph.layout, graph.target, set(graph.inputs), whole


@dataclass(eq=False)
class GraphGroup:
    """Graphs that one file computes.

    Attributes:
        uses: by the SHA-256 of a graph, the sub-models that have it.
        path: of the file.
        certificate: measured on what was merged; None for a single graph and in the padded layout.
    """

    uses: dict[str, list[GraphUse]]
    path: Path
    certificate: Certificate | None = None

    @property
    def name(self) -> str:
        """Of the first graph's file."""
        return self.all_uses[0].graph.file

    @property
    def all_uses(self) -> list[GraphUse]:
        """Those of all graphs."""
        return [use for uses in self.uses.values() for use in uses]


def group(
    bundles: Sequence[Bundle], names: Sequence[Mapping[str, str]], folder: Path
) -> list[GraphGroup]:
    """Graphs of one kind in one file where most of it is the same; why others stay apart is logged.

    Args:
        bundles: the sub-models.
        names: for each, new names of its outputs; no two graphs have an output of one name.
        folder: for the files of merged graphs.

    Raises:
        GraphError: when a graph is none, or is refused.
    """
    uses: dict[str, list[GraphUse]] = {}
    for bundle, outputs in zip(bundles, names, strict=True):
        for graph in bundle.manifest.graphs:
            if graph.sha256 not in uses:
                check_onnx(bundle.content(graph), str(bundle.file(graph)))
            uses.setdefault(graph.sha256, []).append(GraphUse(bundle, graph, outputs))
    groups: list[GraphGroup] = []
    for digest, own in uses.items():
        candidate = GraphGroup({digest: own}, own[0].bundle.file(own[0].graph))
        for place, known in enumerate(groups):
            if known.all_uses[0].kind != own[0].kind or _of_one_bundle(known, candidate):
                continue
            try:
                groups[place] = _merged(known, candidate, folder)
                break
            except NotMerged as why:
                logger.info("%s and %s stay apart: %s", known.path, candidate.path, why)
        else:
            groups.append(candidate)
    return groups


def _of_one_bundle(first: GraphGroup, other: GraphGroup) -> bool:
    return any(one.bundle is two.bundle for one in first.all_uses for two in other.all_uses)


def _merged(first: GraphGroup, other: GraphGroup, folder: Path) -> GraphGroup:
    whole = GraphGroup({**first.uses, **other.uses}, folder / f"{len(list(folder.iterdir()))}.onnx")
    _refuse_other_reading(whole.all_uses)
    parts = whole.uses.values()
    names = [{old: new for use in uses for old, new in use.names.items()} for uses in parts]
    files = [uses[0].bundle.file(uses[0].graph) for uses in parts]
    ir.save(union([ir.load(file) for file in files], names), whole.path)
    for use in whole.all_uses:
        if not _same_logits(use, whole.path):
            raise NotMerged("onnxruntime gives other bits for what they make together")
    if whole.all_uses[0].graph.layout == "exact":
        whole.certificate = _certificate(whole)
    return whole


def _refuse_other_reading(uses: Sequence[GraphUse]) -> None:
    """Texts must have the same tokens and windows for all."""
    first = uses[0].bundle.manifest
    for other in (use.bundle.manifest for use in uses[1:]):
        if first.tokenizer.sha256 != other.tokenizer.sha256:
            raise NotMerged("their tokenizers differ")
        limits = first.encoder.max_tokens, other.encoder.max_tokens
        if limits[0] != limits[1]:
            raise NotMerged(f"they read {limits[0]} and {limits[1]} tokens")
        own, theirs = strides(first.heads.values()), strides(other.heads.values())
        for kind in own.keys() & theirs.keys():
            if own[kind] != theirs[kind]:
                raise NotMerged(f"their windows share {own[kind]} and {theirs[kind]} tokens")


def _same_logits(use: GraphUse, merged: Path) -> bool:
    """Whether a file gives the golden texts the logits of a graph, to the bit."""
    manifest = use.bundle.manifest
    specs = {name: manifest.heads[name] for name in use.graph.heads}
    renamed = {name: replace(s, output=use.names[s.output]) for name, s in specs.items()}
    kinds = {spec.input for spec in specs.values()}
    texts = [t for t in _golden(use) if ("text" if isinstance(t, str) else "pair") in kinds]
    try:
        before = _logits(use, use.bundle.file(use.graph), specs, texts)
        after = _logits(use, merged, renamed, texts)
    except GraphError as problem:
        raise NotMerged(f"their logits cannot be compared on this CPU: {problem}") from problem
    return all(
        [array.tobytes() for array in arrays] == [array.tobytes() for array in after[name]]
        for name, arrays in before.items()
    )


def _logits(
    use: GraphUse, file: Path, specs: Mapping[str, HeadSpec], texts: Sequence[Input]
) -> Mapping[str, Sequence[NDArray[np.float32]]]:
    limit = use.bundle.manifest.encoder.max_tokens
    session: Backend = OnnxSession(file)
    if use.graph.layout == "padded":
        session = PaddedBackend(session, max_tokens=limit)
    with Engine(session, _tokenizer(use), specs, max_tokens=limit, threads=1) as engine:
        return engine.logits(texts)


def _certificate(whole: GraphGroup) -> Certificate:
    uses = whole.all_uses
    encodings = _tokenizer(uses[0]).encode([text for use in uses for text in _golden(use)])
    found = stability.measure(whole.path, encodings)
    known = (use.bundle.manifest.certificate for use in uses)
    if not found.passed and any(before is not None and before.passed for before in known):
        raise NotMerged(
            f"in what they make together, batches or threads change a logit by up to"
            f" {found.max_difference:.2g}"
        )
    return found


def _golden(use: GraphUse) -> list[Input]:
    return [example.input for example in use.bundle.golden().examples]


def _tokenizer(use: GraphUse) -> Tokenizer:
    return Tokenizer.from_file(use.bundle.file(use.bundle.manifest.tokenizer))
