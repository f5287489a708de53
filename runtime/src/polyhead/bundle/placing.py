"""Which file each graph gets in a folder of several bundles: its own, or one with others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from polyhead.bundle import structure
from polyhead.bundle.head_spec import strides
from polyhead.bundle.joining import Candidate, Group, Groups, Reading
from polyhead.bundle.manifest import Manifest
from polyhead.bundle.onnx_check import check_onnx
from polyhead.bundle.reader import Bundle
from polyhead.bundle.structure import Structure, Unmergeable

_OTHER_NAMES = "an output would have another name in each graph of a bundle"


@dataclass(frozen=True)
class Placing:
    """Graphs in groups, and why others are alone.

    Attributes:
        groups: of at least two graphs; each becomes one file.
        all: every graph, alone or not.
    """

    groups: tuple[Group, ...]
    all: Groups

    def outputs(self, digest: str) -> Mapping[str, str] | None:
        """Names of a graph's outputs -> those in its group; None for one that stays as it is."""
        for group in self.groups:
            for member, joined in zip(group.members, group.joined, strict=True):
                if member.graph.sha256 == digest:
                    return joined.outputs
        return None

    def without_groups(self, why: str) -> Placing:
        """All graphs alone."""
        for group in self.groups:
            self.all.keep_apart([member.graph for member in group.members], why)
        return Placing((), self.all)

    def why_apart(self, first: Manifest, other: Manifest) -> str | None:
        """Why the first graphs of two bundles stay apart; None where nothing was found."""
        return self.all.why_apart(first.graphs[0], other.graphs[0])


@contextmanager
def placed(bundles: Sequence[Bundle]) -> Iterator[Placing]:
    """Groups of the bundles' graphs; may be used in the block only, which holds the files open.

    Raises:
        BundleError: when a graph cannot be read.
    """
    read: dict[str, Structure | Unmergeable] = {}
    for bundle in bundles:
        for graph in bundle.manifest.graphs:
            if graph.sha256 not in read:
                read[graph.sha256] = _structure(bundle.file(graph))
    alone: set[str] = set()
    while True:  # a graph more is alone each time
        placing = _placing(bundles, read, alone)
        renamed = {
            graph.sha256
            for bundle in bundles
            if not _one_name_each(bundle.manifest, placing)
            for graph in bundle.manifest.graphs
        }
        if renamed <= alone:
            break
        alone |= renamed
    yield placing


def _placing(
    bundles: Sequence[Bundle], read: Mapping[str, Structure | Unmergeable], alone: set[str]
) -> Placing:
    groups = Groups()
    known: set[str] = set()
    for bundle in bundles:
        manifest = bundle.manifest
        limit = manifest.encoder.max_tokens
        reading = Reading(manifest.tokenizer.sha256, limit, strides(manifest.heads.values()))
        own = {graph.sha256 for graph in manifest.graphs}
        for graph in manifest.graphs:
            if graph.sha256 in known:
                continue
            known.add(graph.sha256)
            found = Unmergeable(_OTHER_NAMES) if graph.sha256 in alone else read[graph.sha256]
            free = [g for g in groups.made if not own & {m.graph.sha256 for m in g.members}]
            groups.put(Candidate(graph, reading, found), free)
    return Placing(tuple(group for group in groups.made if len(group.members) > 1), groups)


def _one_name_each(manifest: Manifest, placing: Placing) -> bool:
    """Whether each head has one output name in all graphs, as a manifest wants it."""
    for name, spec in manifest.heads.items():
        found = {
            (placing.outputs(graph.sha256) or {}).get(spec.output, spec.output)
            for graph in manifest.graphs
            if name in graph.heads
        }
        if len(found) > 1:
            return False
    return True


def _structure(path: Path) -> Structure | Unmergeable:
    with path.open("rb") as file:
        content = mmap(file.fileno(), 0, access=ACCESS_READ)
    check_onnx(content, str(path))
    try:
        return structure.read(content, str(path))
    except Unmergeable as problem:
        return problem
