"""The sessions of bundles: equal graphs share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from polyhead.bundle.manifest import Graph
from polyhead.bundle.reader import Bundle
from polyhead.inference.multi_threaded import WideSession
from polyhead.inference.providers import CPU
from polyhead.inference.session import OnnxSession
from polyhead.settings import Settings


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
            check=check_of(bundle, graph, settings),
            **options_of(settings),
        )
        self.wide = wide_of(self, provider, settings)

    def info(self) -> dict[str, Any]:
        """What the session says, and the graph."""
        return {**super().info(), "graph": described(self._graph)}


class Sessions:
    """Opens each graph of some bundles at most once."""

    def __init__(self, settings: Settings) -> None:
        """Take how to open them; nothing is opened yet."""
        self._settings = settings
        self._opened: dict[tuple[str, str], Opened] = {}
        self._checked: set[object] = set()

    def of(self, bundle: Bundle, graph: Graph, provider: str) -> Opened:
        """The session of a graph; one that is open serves all files of its content.

        Raises:
            BundleError: when a file cannot be read or trusted, or onnxruntime cannot load it.
            ProviderUnavailable: when the provider cannot start.
        """
        key, path = (provider, graph.sha256), bundle.file(graph)
        if key not in self._opened:
            session = BundleSession(bundle, graph, provider, self._settings)
            self._opened[key] = Opened(session, {name: name for name in session.outputs})
        elif self._settings.verify != "none" and path not in self._checked:
            bundle.check_digest(graph)
        self._checked.add(path)
        return self._opened[key]


def described(graph: Graph) -> dict[str, Any]:
    """A graph as plain data."""
    return {
        "file": graph.file,
        "sha256": graph.sha256,
        "precision": graph.precision,
        "layout": graph.layout,
        "target": graph.target,
    }


def check_of(bundle: Bundle, graph: Graph, settings: Settings) -> partial[None] | None:
    """What refuses a wrong content of a graph's file; None where nothing is checked."""
    return partial(bundle.check_digest, graph) if settings.verify != "none" else None


def options_of(settings: Settings) -> dict[str, Any]:
    """How `OnnxSession` is to be opened."""
    return {
        "intra_op_threads": settings.intra_op,
        "provider_options": settings.provider_options,
        "spin": settings.spin,
        "session_options": settings.session_options,
    }


def wide_of(session: OnnxSession, provider: str, settings: Settings) -> WideSession | None:
    """For lone texts, where there are threads for them."""
    threads = settings.wide
    return WideSession(session, threads) if provider == CPU and threads > 1 else None
