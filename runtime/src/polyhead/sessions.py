"""The sessions of an engine: equal graphs share one, graphs over one encoder are merged for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from polyhead.bundle import structure
from polyhead.bundle.joining import Candidate, Groups, Reading
from polyhead.bundle.manifest import Graph
from polyhead.bundle.merging import Joined, Union
from polyhead.bundle.reader import Bundle
from polyhead.bundle.structure import Structure, Unmergeable
from polyhead.errors import GraphError, ProviderUnavailable
from polyhead.graph_file import GraphFile, in_memory
from polyhead.providers import CPU
from polyhead.selection import graph_for
from polyhead.session import OnnxSession
from polyhead.settings import Settings
from polyhead.wide import WideSession


@dataclass(frozen=True)
class Wish:
    """A bundle of an engine, the heads that it is asked for (None: all), and how it reads."""

    bundle: Bundle
    heads: Sequence[str] | None
    reading: Reading


@dataclass(frozen=True)
class Opened:
    """A session, and what it calls the outputs of one graph."""

    session: OnnxSession
    outputs: Mapping[str, str]


class BundleSession(OnnxSession):
    """The session of a graph that a manifest describes."""

    def __init__(self, bundle: Bundle, graph: Graph, provider: str, settings: Settings) -> None:
        """Open it; raises what `OnnxSession` raises."""
        self._graph = graph
        super().__init__(
            bundle.file(graph),
            provider=provider,
            check=_check(bundle, graph, settings),
            **_options(settings),
        )
        self.wide = _wide(self, provider, settings)

    def info(self) -> dict[str, Any]:
        """What the session says, and the graph."""
        return {**super().info(), "graph": described(self._graph)}


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
        super().__init__(merged.files[0].path, provider=provider, **_options(settings))
        self.wide = _wide(self, provider, settings)

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


class Sessions:
    """Opens each graph of some bundles at most once."""

    def __init__(self, settings: Settings, wishes: Sequence[Wish] = ()) -> None:
        """Open nothing yet.

        Args:
            settings: how to open them.
            wishes: all bundles whose graphs may be merged.
        """
        self._settings, self._wishes = settings, wishes
        self._opened: dict[tuple[str, str], Opened] = {}
        self._groups: dict[str, Groups] = {}
        self._checked: set[object] = set()
        self._taken: dict[int, tuple[str, Graph]] = {}

    def of(self, bundle: Bundle, graph: Graph, provider: str) -> Opened:
        """The session of a graph; one that is open serves all files of its content.

        Raises:
            BundleError: when a file cannot be read or trusted, or onnxruntime cannot load it.
            ProviderUnavailable: when the provider cannot start.
        """
        if provider not in self._groups:
            self._groups[provider] = Groups()
            self._merge(provider)
        key, path = (provider, graph.sha256), bundle.file(graph)
        if key not in self._opened:
            session = BundleSession(bundle, graph, provider, self._settings)
            self._opened[key] = Opened(session, {name: name for name in session.outputs})
        elif self._settings.verify != "none" and path not in self._checked:
            bundle.check_digest(graph)
        self._checked.add(path)
        self._taken[id(bundle)] = provider, graph
        return self._opened[key]

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
                wish.bundle.file(graph), _check(wish.bundle, graph, self._settings)
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


def described(graph: Graph) -> dict[str, Any]:
    """A graph as plain data."""
    return {
        "file": graph.file,
        "sha256": graph.sha256,
        "precision": graph.precision,
        "layout": graph.layout,
        "target": graph.target,
    }


def _structure(file: GraphFile, stack: ExitStack) -> Structure:
    _, content = stack.enter_context(file.opened())
    return structure.read(content, str(file.path))


def _check(bundle: Bundle, graph: Graph, settings: Settings) -> partial[None] | None:
    return partial(bundle.check_digest, graph) if settings.verify != "none" else None


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "intra_op_threads": settings.intra_op,
        "provider_options": settings.provider_options,
        "spin": settings.spin,
        "session_options": settings.session_options,
    }


def _wide(session: OnnxSession, provider: str, settings: Settings) -> WideSession | None:
    """For lone texts, where there are threads for them."""
    threads = settings.wide
    return WideSession(session, threads) if provider == CPU and threads > 1 else None
