"""What an engine lives through: another bundle, a pickle, its end."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from polyhead.errors import EngineClosed, EngineWithoutBundle
from polyhead.inference.scheduler import Scheduler
from polyhead.model import Model

if TYPE_CHECKING:
    from polyhead.loading import Origin


class Lifecycle:
    """Holds the model that answers; each call takes it once, so that `reload` may exchange it."""

    def __init__(self, model: Model, scheduler: Scheduler) -> None:
        self._model = model
        self._scheduler = scheduler
        self._closed = False

    def reload(self, path: str | Path | None = None) -> None:
        """Answer with another bundle from now on, or with the same one read again.

        The bundle is loaded and checked first; until then, and when it fails, the old one answers.
        Each call is answered by one of the two from its start to its end, and calls in flight
        finish with the old one. Settings stay as they were given to `polyhead.load`.

        Args:
            path: the new bundle; None for the path of the old one.

        Raises:
            BundleError: when the new bundle cannot be read or trusted.
            UnknownHead: when it lacks a head that `polyhead.load` was asked for by name.
            EngineWithoutBundle: when this engine was not made by `polyhead.load`.
            EngineClosed: after `close`.
        """
        self._open()
        origin = self._bundled("reload")
        if path is not None:
            origin = origin.at(path)
        self._model = origin.model()

    def close(self) -> None:
        """Give the worker threads back. May be called twice.

        Later calls raise `EngineClosed`, except `info`, which still tells what ran.
        """
        self._closed = True
        self._scheduler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as where it came from: the copy opens its bundle again."""
        self._open()
        return self._bundled("pickle").engine, ()

    def _bundled(self, what: str) -> Origin:
        origin = self._model.origin
        if origin is None:
            raise EngineWithoutBundle(
                f"cannot {what} this engine: it was not made by polyhead.load, so there is no"
                " bundle to open again."
            )
        return origin

    def _open(self) -> Model:
        if self._closed:
            raise EngineClosed("This engine was closed. Load the bundle again with polyhead.load.")
        return self._model
