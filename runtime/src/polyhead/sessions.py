"""The sessions of an engine: equal graphs share one, graphs over one encoder are merged for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from polyhead.bundle import structure
from polyhead.bundle.joining import Candidate, Group, Groups, Reading
from polyhead.bundle.manifest import Graph
from polyhead.bundle.merging import Union
from polyhead.bundle.reader import Bundle
from polyhead.bundle.structure import Structure, Unmergeable
from polyhead.errors import GraphError, ProviderUnavailable
from polyhead.graph_file import GraphFile
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


class MergedSession(OnnxSession):
    """One session of several graphs, merged anew from their files in each process."""

    def __init__(
        self, group: Group, files: Sequence[GraphFile], provider: str, settings: Settings
    ) -> None:
        """Open it; raises what `OnnxSession` raises.

        Args:
            group: the graphs, read just now.
            files: where they are, in the same order.
            provider: onnxruntime's name.
            settings: how to open it.
        """
        self.members = tuple(member.graph for member in group.members)
        self.joined = tuple(group.joined)
        self._files = tuple(files)
        self._union: Union | None = group.union
        super().__init__(files[0].path, provider=provider, **_options(settings))
        self.wide = _wide(self, provider, settings)

    @contextmanager
    def _model(self) -> Iterator[str | bytes]:
        union, self._union = self._union, None  # the files are closed when it is made
        if union is not None:
            yield union.content()
            return
        with ExitStack() as stack:
            first, *others = (_structure(file, stack) for file in self._files)
            again = Union(first)
            for other in others:
                again.add(other)
            yield again.content()

    def info(self) -> dict[str, Any]:
        """What the session says, and the graphs."""
        return {**super().info(), "graph": {"merged": [described(each) for each in self.members]}}


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
        groups = self._groups[provider]
        files = {
            digest: GraphFile(wish.bundle.file(graph), _check(wish.bundle, graph, self._settings))
            for digest, (wish, graph) in found.items()
        }
        with ExitStack() as stack:
            for digest, (wish, graph) in found.items():
                try:
                    read: Structure | Unmergeable = _structure(files[digest], stack)
                except Unmergeable as problem:
                    read = problem
                groups.put(Candidate(graph, wish.reading, read))
            for group in tuple(groups.made):
                if len(group.members) > 1:
                    own = [files[member.graph.sha256] for member in group.members]
                    self._open(group, own, provider, groups)
            groups.made.clear()  # they hold the contents of all files

    def _open(
        self, group: Group, files: Sequence[GraphFile], provider: str, groups: Groups
    ) -> None:
        try:
            session = MergedSession(group, files, provider, self._settings)
        except GraphError:  # a bad graph among them is named when it is opened alone
            groups.part(group, "onnxruntime cannot load what they make together")
            return
        for member, joined in zip(group.members, group.joined, strict=True):
            self._opened[provider, member.graph.sha256] = Opened(session, joined.outputs)
        self._checked |= {file.path for file in files}


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
    """For lone long texts, where there are threads for them."""
    threads = settings.wide
    return WideSession(session, threads) if provider == CPU and threads > 1 else None
