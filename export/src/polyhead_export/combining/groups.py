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
from polyhead_export.engines import PaddedBackend

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GraphUse:
    """A graph as one sub-model has it.

    Attributes:
        source: number of the folder that the sub-model is of.
        bundle: the sub-model.
        graph: one of its graphs.
        names: new names of the graph's outputs.
    """

    source: int
    bundle: Bundle
    graph: Graph
    names: Mapping[str, str]

    @property
    def key(self) -> tuple[int, str]:
        """The folder and the content of the file."""
        return self.source, self.graph.sha256

    @property
    def file(self) -> Path:
        """Where it is."""
        return self.bundle.file(self.graph)

    @property
    def kind(self) -> tuple[object, ...]:
        """What graphs that become one have in common, whatever they compute."""
        graph, whole = self.graph, len(self.graph.heads) == len(self.bundle.manifest.heads)
        return graph.precision, graph.layout, graph.target, set(graph.inputs), whole


@dataclass(frozen=True, eq=False)
class GraphGroup:
    """Graphs that one file computes.

    Attributes:
        uses: by the sub-models that have them.
        path: of the file.
        certificate: measured on what was merged; None for a single graph and in the padded layout.
    """

    uses: Sequence[GraphUse]
    path: Path
    certificate: Certificate | None = None

    @property
    def keys(self) -> list[tuple[int, str]]:
        """Folder and content of each file that it was made of."""
        return list(dict.fromkeys(use.key for use in self.uses))


def group(
    sources: Sequence[Sequence[Bundle]],
    names: Sequence[Mapping[str, str]],
    folder: Path,
    *,
    merge: bool = True,
) -> list[GraphGroup]:
    """Graphs of one kind in one file where most of it is the same; why others stay apart is logged.

    Args:
        sources: the sub-models of each folder.
        names: for each folder, new names of outputs, which no other folder has.
        folder: for the files of merged graphs.
        merge: False leaves all apart, as a cascade needs them.

    Raises:
        GraphError: when a graph is none, or is refused.
    """
    files: dict[tuple[int, str], list[GraphUse]] = {}
    for number, bundles in enumerate(sources):
        for bundle in bundles:
            for graph in bundle.manifest.graphs:
                use = GraphUse(number, bundle, graph, names[number])
                files.setdefault(use.key, []).append(use)
    groups: list[GraphGroup] = []
    for uses in files.values():
        first = uses[0]
        check_onnx(first.file.read_bytes(), str(first.file))
        for place, known in enumerate(groups):
            of_one_source = first.source in {use.source for use in known.uses}
            if not merge or of_one_source or known.uses[0].kind != first.kind:
                continue
            try:
                groups[place] = _merged([*known.uses, *uses], folder)
                break
            except NotMerged as why:
                logger.info("%s and %s stay apart: %s", known.path, first.file, why)
        else:
            groups.append(GraphGroup(uses, first.file))
    return groups


def _merged(uses: Sequence[GraphUse], folder: Path) -> GraphGroup:
    _refuse_other_reading(uses)
    path = folder / f"{len(list(folder.iterdir()))}.onnx"
    distinct = {use.key: use for use in uses}.values()
    ir.save(union([ir.load(use.file) for use in distinct], [use.names for use in distinct]), path)
    if not all(_same_logits(use, path) for use in uses):
        raise NotMerged("onnxruntime gives other bits for what they make together")
    exact = uses[0].graph.layout == "exact"
    return GraphGroup(uses, path, _certificate(uses, path) if exact else None)


def _refuse_other_reading(uses: Sequence[GraphUse]) -> None:
    """Texts must have the same tokens and windows for all."""
    first = uses[0].bundle.manifest
    for other in (use.bundle.manifest for use in uses[1:]):
        if first.tokenizer.sha256 != other.tokenizer.sha256:
            raise NotMerged("their tokenizers differ")
        if first.special_tokens != other.special_tokens:
            raise NotMerged("they read special tokens in texts in different ways")
        own, theirs = strides(first.heads.values()), strides(other.heads.values())
        here, there = first.encoder.max_tokens, other.encoder.max_tokens
        if here != there:
            raise NotMerged(
                f"they read {here} and {there} tokens. Import both with --max-tokens"
                f" {min(here, there)}, or train both with one max_tokens"
            )
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
        before = _logits(use, use.file, specs, texts)
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


def _certificate(uses: Sequence[GraphUse], path: Path) -> Certificate:
    encodings = _tokenizer(uses[0]).encode([text for use in uses for text in _golden(use)])
    found = stability.measure(path, encodings)
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
    return Tokenizer.of_bundle(use.bundle)
