"""What a server answers with: engines by their served names, a batcher for each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from polyhead.bundle.generation import OPTIONS
from polyhead.engine import Engine, Options
from polyhead.errors import InvalidSetting, PolyheadError, QueueFull, nearest
from polyhead.heads.generation import Generated
from polyhead.loading import load
from polyhead.prediction import Prediction
from polyhead.serving.batcher import Batcher
from polyhead.serving.http.metrics import Metrics, current
from polyhead.serving.http.problems import NotReady, TooManyTexts, UnknownModel
from polyhead.serving.http.settings import ServiceSettings
from polyhead.serving.pace import PLANNED
from polyhead.serving.stats import BatchReport
from polyhead.text.encoding import Input

Served = str | Path | Engine
"""A bundle's path, or an engine that the caller goes on owning."""

_SHORT_BODY = 8 << 10
"""Bytes that hold no text of the other queue, that for long ones."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # it is part of paths


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that answers.

    Attributes:
        name: in requests and paths.
        engine: computes.
        batcher: collects what it computes.
    """

    name: str
    engine: Engine
    batcher: Batcher


class Service:
    """Engines behind HTTP; made for ``async with``, in which the models are there."""

    def __init__(self, served: Mapping[str, Served], settings: ServiceSettings) -> None:
        """Take names and settings; nothing is loaded yet.

        Args:
            served: by name, at least one; the first answers requests that name none.
            settings: limits of all.

        Raises:
            InvalidSetting: for a name that a path cannot hold.
        """
        if not served:
            raise InvalidSetting("found no bundle, expected at least one.")
        for name in served:
            if not _NAME.fullmatch(name):
                raise InvalidSetting(
                    f"name {name!r}: expected letters, digits, '.', '_' and '-', at most 100, since"
                    " it is part of paths. Give the bundle another with --name."
                )
        self.settings = settings
        self._served = dict(served)
        self._models: dict[str, ServedModel] = {}
        self._stack = AsyncExitStack()
        self._started = self._closing = False
        self._reloading = asyncio.Lock()
        self.metrics = Metrics()
        self.tell_others: Callable[[], object] = lambda: None
        """Called after a reload that was asked for over HTTP; for servers of several processes."""

    @property
    def ready(self) -> bool:
        """Whether it answers: all models are there, and it is not about to end."""
        return self._started and not self._closing

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """By name; none before the start and after the end."""
        return self._models

    def model(self, name: str | None = None) -> ServedModel:
        """The model of a name; None for the first.

        Raises:
            UnknownModel: for a name that is not served.
            NotReady: before the start, and after the end.
        """
        if not self.ready:
            raise NotReady("this server is not ready. Try again later, or ask another one.")
        if name is None:
            return next(iter(self._models.values()))
        found = self._models.get(name)
        if found is None:
            raise UnknownModel(
                f"model: found {name!r}, served are {', '.join(self._models)}."
                f"{nearest(name, self._models)}"
            )
        return found

    def check_hope(self, announced: int) -> None:
        """Refuse a request before its body is read, which is most of what a refusal costs.

        Only where all would be refused as soon as they are read: of one model, by what waits.

        Args:
            announced: bytes of the body; of a large one nothing is known before.

        Raises:
            QueueFull: as `answer` would.
        """
        if len(self._models) > 1 or announced > _SHORT_BODY or not self.ready:
            return
        (model,) = self._models.values()
        wait = model.batcher.expected_wait_s()
        if wait > PLANNED * self.settings.deadline_ms / 1e3:
            if (facts := current.get(None)) is not None:
                facts.model = model.name
            raise QueueFull("what waits takes too long.", expected_wait_s=wait)

    async def answer(
        self,
        name: str | None,
        inputs: Sequence[Input],
        heads: Sequence[str] | None = None,
        options: Options | None = None,
        deadline_ms: float | None = None,
    ) -> list[Prediction | PolyheadError]:
        """Answer the texts of one request, in their order.

        Args:
            name: of the model; None for the first.
            inputs: texts, or pairs as tuples or lists of two; what is neither gets `InvalidText`.
            heads: names of the wanted heads; None for all that read such inputs.
            options: settings of single heads.
            deadline_ms: milliseconds from now; None, or more than the service allows, for those of
                the service.

        Returns:
            For each input its prediction, or why there is none.

        Raises:
            PolyheadError: when all of the request is at fault, or refused: `UnknownModel`,
                `TooManyTexts`, `UnknownHead`, `InvalidSetting`, `QueueFull`.
        """
        model = self.model(name)
        check_count(inputs, self.settings.max_texts)
        facts = current.get(None)
        if facts is not None:
            facts.model, facts.head_set = model.name, self._head_set(model, heads)
        limit = self.settings.deadline_ms
        if deadline_ms is not None:
            limit = min(limit, deadline_ms)
        found = await model.batcher.predict_all(
            inputs, heads=heads, options=options, deadline_ms=limit
        )
        return list(_on_purpose(found))

    def stream(
        self,
        name: str | None,
        text: Input,
        head: str | None = None,
        options: Mapping[str, Any] | None = None,
        deadline_ms: float | None = None,
    ) -> tuple[str, str, AsyncGenerator[str | Generated]]:
        """An answer piece by piece.

        Args:
            name: of the model; None for the first.
            text: one, or a pair.
            head: one that writes; None for the only one of the model.
            options: of the head.
            deadline_ms: as for `answer`.

        Returns:
            Names of model and head, and the pieces, of which the first raises what is wrong.

        Raises:
            UnknownModel: for a name that is not served.
            InvalidSetting: when no head was named, and there is not just one that writes.
        """
        model = self.model(name)
        if head is None:
            writing = [n for n, spec in model.engine.heads.items() if spec.generation is not None]
            if len(writing) != 1:
                raise InvalidSetting(
                    "head: found none, expected one that writes; this model has"
                    f" {', '.join(writing) or 'none'}."
                )
            (head,) = writing
        if (facts := current.get(None)) is not None:
            facts.model, facts.head_set = model.name, self._head_set(model, [head])
        if unknown := [name for name in options or () if name not in OPTIONS]:
            raise InvalidSetting(
                f"options: found {unknown[0]!r}; here they are those of the one head that writes:"
                f" {', '.join(OPTIONS)}."
                f"{nearest(unknown[0], OPTIONS)}"
            )
        limit = self.settings.deadline_ms
        if deadline_ms is not None:
            limit = min(limit, deadline_ms)
        pieces = model.batcher.stream(text, head, deadline_ms=limit, **(options or {}))
        return model.name, head, pieces

    async def reload(self, name: str | None = None) -> None:
        """Read the bundles again, of one model or of all; until that is done the old ones answer.

        Raises:
            BundleError: when one cannot be read or trusted; it goes on with what it has.
        """
        async with self._reloading:  # one after the other, for the sake of memory
            for model in list(self._models.values()) if name is None else [self.model(name)]:
                await asyncio.to_thread(model.engine.reload)

    def _head_set(self, model: ServedModel, heads: Sequence[str] | None) -> str:
        return self.metrics.head_set(heads, () if heads is None else [*model.engine.heads])

    def _count_later(self, name: str, report: BatchReport) -> None:
        """In a turn of its own, by which the answers are on their way."""
        asyncio.get_running_loop().call_soon(self._count, name, report)

    def _count(self, name: str, report: BatchReport) -> None:
        if (model := self._models.get(name)) is not None:
            self.metrics.batch(name, self._head_set(model, report.heads), report)
            self.metrics.waiting(name, model.batcher.waiting)

    async def __aenter__(self) -> Self:
        settings, found = self.settings, self._models
        async with AsyncExitStack() as stack:
            for name, served in self._served.items():
                if isinstance(served, str | Path):
                    engine = stack.enter_context(_loaded(served, settings))
                else:
                    engine = served
                batcher = Batcher(
                    engine,
                    max_queue=settings.max_queue,
                    deadline_ms=settings.deadline_ms,
                    observe=partial(self._count_later, name),
                )
                stack.push_async_callback(batcher.aclose, drain=False)
                await batcher.__aenter__()
                found[name] = ServedModel(name, engine, batcher)
            self._started = True
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        await self._stack.aclose()
        self._models.clear()


def names_for(bundles: Sequence[str | Path], names: Sequence[str] = ()) -> dict[str, Served]:
    """Bundles by their served names: those given, one for each, or the names of their folders.

    Raises:
        InvalidSetting: for another number of names, or two bundles of one name.
    """
    if names and len(names) != len(bundles):
        raise InvalidSetting(
            f"--name: found {len(names)} names for {len(bundles)} bundles. Give one for each, in"
            " their order, or none."
        )
    given = list(names) or [Path(bundle).resolve().name for bundle in bundles]
    if len(set(given)) < len(given):
        raise InvalidSetting(
            f"the bundles' names are {', '.join(given)}. Give each one of its own with --name."
        )
    return dict(zip(given, bundles, strict=True))


def check_count(inputs: Sequence[object], most: int) -> None:
    """Refuse a request of too many texts.

    Raises:
        TooManyTexts: of more than `most`.
    """
    if len(inputs) > most:
        raise TooManyTexts(
            f"found {len(inputs):,} texts, at most {most:,} are allowed in a request. Send them in"
            " several."
        )


def _loaded(bundle: str | Path, settings: ServiceSettings) -> Engine:
    engine = load(
        bundle,
        threads=settings.threads,
        max_characters=settings.max_characters,
        verify=settings.verify,
    )
    engine.warmup()
    return engine


def _on_purpose(found: Iterable[Prediction | Exception]) -> Iterator[Prediction | PolyheadError]:
    """The same, as long as no error is a bug."""
    for each in found:
        if isinstance(each, Exception) and not isinstance(each, PolyheadError):
            raise each
        yield each
