"""The sessions of several bundles: graphs over one encoder are merged for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from polyhead.bundle import structure
from polyhead.bundle.joining import Candidate, Groups, Reading
from polyhead.bundle.manifest import Graph
from polyhead.bundle.merging import Joined, Union
from polyhead.bundle.reader import Bundle
from polyhead.bundle.selection import graph_for
from polyhead.bundle.structure import Structure, Unmergeable
from polyhead.errors import GraphError, ProviderUnavailable
from polyhead.inference.graph_file import GraphFile, in_memory
from polyhead.inference.session import OnnxSession
from polyhead.sessions import Opened, Sessions, check_of, described, options_of, wide_of
from polyhead.settings import Settings


@dataclass(frozen=True)
class Wish:
    """A bundle of an engine, the heads that it is asked for (None: all), and how it reads."""

    bundle: Bundle
    heads: Sequence[str] | None
    reading: Reading


@dataclass(frozen=True)
class Merged:
    """Graphs that are one.

    Attributes:
        graphs: as the manifests describe them.
        joined: how each stands in it.
        files: where they are.
        model: the whole, for the session of this process.
    """

    graphs: tuple[Graph, ...]
    joined: tuple[Joined, ...]
    files: tuple[GraphFile, ...]
    model: BinaryIO | bytes


class MergedSession(OnnxSession):
    """One session of several graphs, merged anew from their files in a forked process."""

    def __init__(self, merged: Merged, provider: str, settings: Settings) -> None:
        """Open it; raises what `OnnxSession` raises."""
        self.graphs, self.joined, self._files = merged.graphs, merged.joined, merged.files
        self._first: BinaryIO | bytes | None = merged.model
        super().__init__(merged.files[0].path, provider=provider, **options_of(settings))
        self.wide = wide_of(self, provider, settings)

    @contextmanager
    def _model(self) -> Iterator[str | bytes]:
        model, self._first = self._first, None
        if model is None:
            with ExitStack() as stack:
                first, *others = (_structure(file, stack) for file in self._files)
                union = Union(first)
                for other in others:
                    union.add(other)
                model = in_memory(union.pieces())
            del first, others, other, union  # the contents of all files
        if isinstance(model, bytes):
            yield model
        else:
            with model:
                yield f"/proc/self/fd/{model.fileno()}"

    def info(self) -> dict[str, Any]:
        """What the session says, and the graphs."""
        return {**super().info(), "graph": {"merged": [described(each) for each in self.graphs]}}


class MergingSessions(Sessions):
    """Opens each graph of some bundles at most once, and as one what can be merged."""

    def __init__(self, settings: Settings, wishes: Sequence[Wish]) -> None:
        """Open nothing yet.

        Args:
            settings: how to open them.
            wishes: all bundles whose graphs may be merged.
        """
        super().__init__(settings)
        self._wishes = wishes
        self._groups: dict[str, Groups] = {}
        self._taken: dict[int, tuple[str, Graph]] = {}

    def of(self, bundle: Bundle, graph: Graph, provider: str) -> Opened:
        """The session of a graph, alone or merged; see `Sessions.of`."""
        if provider not in self._groups:
            self._groups[provider] = Groups()
            self._merge(provider)
        opened = super().of(bundle, graph, provider)
        self._taken[id(bundle)] = provider, graph
        return opened

    def graph(self, bundle: Bundle) -> Graph:
        """The graph that a bundle runs."""
        return self._taken[id(bundle)][1]

    def why_apart(self, first: Bundle, other: Bundle) -> str | None:
        """Why the graphs of two bundles do not run once; None where nothing stands against it."""
        readings = {id(wish.bundle): wish.reading for wish in self._wishes}
        differs = readings[id(first)].difference(readings[id(other)])
        if differs is not None:
            return differs
        (provider, own), (another, theirs) = self._taken[id(first)], self._taken[id(other)]
        if provider != another:
            return f"they run on {provider} and {another}"
        return self._groups[provider].why_apart(own, theirs)

    def _merge(self, provider: str) -> None:
        """Open what can be merged of the graphs that this provider would run."""
        found: dict[str, tuple[Wish, Graph]] = {}
        for wish in self._wishes:
            try:
                graph = graph_for(wish.bundle.manifest, provider, wish.heads)
            except ProviderUnavailable:
                continue
            found.setdefault(graph.sha256, (wish, graph))
        if len(found) < 2:
            return
        with ExitStack() as models:
            made = self._merged(list(found.values()), self._groups[provider])
            for merged in made:
                if not isinstance(merged.model, bytes):
                    models.enter_context(merged.model)
            for merged in made:
                self._open(merged, provider)

    def _open(self, merged: Merged, provider: str) -> None:
        try:
            session = MergedSession(merged, provider, self._settings)
        except GraphError:  # a bad graph among them is named when it is opened alone
            why = "onnxruntime cannot load what they make together"
            self._groups[provider].keep_apart(merged.graphs, why)
            return
        for graph, joined in zip(merged.graphs, merged.joined, strict=True):
            self._opened[provider, graph.sha256] = Opened(session, joined.outputs)
        self._checked |= {file.path for file in merged.files}

    def _merged(self, found: Sequence[tuple[Wish, Graph]], groups: Groups) -> list[Merged]:
        files = {
            graph.sha256: GraphFile(
                wish.bundle.file(graph), check_of(wish.bundle, graph, self._settings)
            )
            for wish, graph in found
        }
        with ExitStack() as stack:
            for wish, graph in found:
                try:
                    read: Structure | Unmergeable = _structure(files[graph.sha256], stack)
                except Unmergeable as problem:
                    read = problem
                groups.put(Candidate(graph, wish.reading, read))
            made = []
            for group in groups.made:
                if len(group.members) > 1:
                    graphs = tuple(member.graph for member in group.members)
                    own = tuple(files[graph.sha256] for graph in graphs)
                    model = in_memory(group.union.pieces())
                    made.append(Merged(graphs, tuple(group.joined), own, model))
            groups.made.clear()  # they hold the contents of all files
            return made


def _structure(file: GraphFile, stack: ExitStack) -> Structure:
    _, content = stack.enter_context(file.opened())
    return structure.read(content, str(file.path))
