"""Texts that are written together: their rows in the decoder's steps, and the caches of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.generation import Generation
from polyhead.errors import GraphError, InvalidSetting
from polyhead.inference.generation.backend import Floats, StepBackend
from polyhead.inference.generation.options import SearchOptions
from polyhead.inference.generation.search import Beams, Greedy, Search, Written

_MOST_ROWS = 32  # in a step; more are no faster
_MOST_BYTES = 2**32  # of the caches of one text
_SHARED_BYTES = 2**28  # of those of texts that are written together


@dataclass(frozen=True, slots=True, eq=False)
class SourceStates:
    """What a decoder reads of a text.

    Attributes:
        states: of the encoder, `(source, hidden)`, float32.
        ids: token ids, `(source,)`, -1 for what is not copied; None for a decoder that copies
            nothing.
    """

    states: Floats
    ids: NDArray[np.int64] | None = None


class Caches:
    """Keys and values of the tokens so far, in memory that was taken once.

    There are two buffers for each: a step reads one and fills the other, and so does a change of
    rows.
    """

    def __init__(self, spec: Generation, rows: int, tokens: int) -> None:
        self._heads, self._size = spec.heads, spec.head_size
        count, size = 2 * spec.layers, rows * spec.heads * tokens * spec.head_size
        # No memory is touched before it is needed.
        self._front = [np.empty(size, np.float32) for _ in range(count)]
        self._back = [np.empty(size, np.float32) for _ in range(count)]

    def front(self, rows: int, tokens: int) -> list[Floats]:
        """Views of what is there, `(rows, heads, tokens, head_size)` each."""
        return [self._view(buffer, rows, tokens) for buffer in self._front]

    def back(self, rows: int, tokens: int) -> list[Floats]:
        """Views of what is to be filled."""
        return [self._view(buffer, rows, tokens) for buffer in self._back]

    def swap(self) -> None:
        """What was filled is there now."""
        self._front, self._back = self._back, self._front

    def _view(self, buffer: Floats, rows: int, tokens: int) -> Floats:
        shape = rows, self._heads, tokens, self._size
        return buffer[: rows * self._heads * tokens * self._size].reshape(shape)


class Writing:
    """Answers to texts whose sources are equally long, written together, token by token.

    Attributes:
        texts: the caller's own things, one a text.
        searches: one a text, in their order.
    """

    def __init__(
        self,
        backend: StepBackend,
        spec: Generation,
        options: SearchOptions,
        sources: Sequence[SourceStates],
        texts: Sequence[Any] = (),
    ) -> None:
        """Nothing is computed yet.

        Args:
            backend: computes the scores.
            spec: of the decoder.
            options: of the call.
            sources: at least one.
            texts: anything, for the caller to know them by.
        """
        self.texts = texts
        self.searches = [_search(spec, options, source.ids) for source in sources]
        self._backend, self._spec, self._options = backend, spec, options
        self._sources: Sequence[SourceStates] = sources
        self._active = list(self.searches)
        self._cross: list[Floats] = []
        self._ids: NDArray[np.int64] | None = None
        self._caches: Caches | None = None
        self._length = 0  # tokens in the caches

    @property
    def done(self) -> bool:
        """Whether all have their answers or problems, or none wants its own any more."""
        return not self._active

    def advance(self, wanted: Callable[[Any], bool] | None = None) -> None:
        """Write one token of each answer.

        What is wrong with one text, as scores that are no numbers, is the `problem` of its search.

        Args:
            wanted: asked for each of `texts` whether its answer still is; None for all.

        Raises:
            GraphError: when a graph fails.
        """
        if wanted is not None:
            for text, search in zip(self.texts, self.searches, strict=True):
                search.dropped = search.dropped or not (search.done or wanted(text))
            gone = {id(search) for search in self._active if search.dropped}
            if gone:
                self._keep([np.arange(search.beams) for search in self._active], gone)
        if self._active and self._caches is None:
            self._begin()
        if not self._active or self._caches is None:
            return
        tokens = np.concatenate([search.tokens for search in self._active])[:, None]
        rows, length = len(tokens), self._length
        scores, copied = self._backend.step(
            tokens,
            self._caches.front(rows, length),
            self._cross,
            self._ids,
            self._caches.back(rows, length + 1),
        )
        finite = np.isfinite(scores.max(axis=1))
        self._caches.swap()
        self._length += 1
        parents, first = [], 0
        for search in self._active:
            block = slice(first, first + search.beams)
            if finite[block].all():
                own = None if copied is None else copied[block]
                parents.append(search.advance(scores[block], own))
            else:
                parents.append(np.arange(search.beams))
                search.done = True
                search.problem = GraphError(
                    "the decoder gives nan or infinite scores, so there is no next token. Its"
                    " weights are at fault, or it overflows with this input: train or export"
                    " again."
                )
            first += search.beams
        self._keep(parents, {id(search) for search in self._active if search.done})

    def _begin(self) -> None:
        """What is attended to, once for all steps; a problem where the caches were too large."""
        length = len(self._sources[0].states)
        size = cache_bytes(self._spec, self._options, length)
        if size > _MOST_BYTES:
            for search in self._active:
                search.problem = InvalidSetting(
                    f"beams={self._options.beams}, max_tokens={self._options.max_tokens}: the"
                    f" caches for a source of {length:,} tokens would take {size / 2**30:.1f} GiB,"
                    f" at most {_MOST_BYTES / 2**30:.0f} are allowed. Ask for fewer beams or"
                    " tokens, or split the text."
                )
            self._active = []
            return
        both = zip(self._sources, self.searches, strict=True)
        sources = [source for source, search in both if not search.dropped]
        cross = self._backend.cross(np.stack([source.states for source in sources]))
        rows = np.repeat(np.arange(len(sources)), self._options.beams)
        one_each = self._options.beams == 1
        self._cross = cross if one_each else [array[rows] for array in cross]
        if self._spec.copies:
            ids = [source.ids for source in sources if source.ids is not None]
            self._ids = np.stack(ids)[rows]
        self._sources = ()
        self._caches = Caches(self._spec, len(rows), self._options.max_tokens)

    def _keep(self, parents: Sequence[NDArray[np.int64]], gone: set[int]) -> None:
        """Move the caches of each beam to its continuation, and drop the rows of texts."""
        rows, first, before = [], 0, sum(search.beams for search in self._active)
        for search, own in zip(self._active, parents, strict=True):
            if id(search) not in gone:
                rows.append(first + own)
            first += search.beams
        dropped = any(id(search) in gone for search in self._active)
        self._active = [search for search in self._active if id(search) not in gone]
        if not rows or self._caches is None:
            return
        kept = np.concatenate(rows)
        if len(kept) == before and (kept == np.arange(before)).all():
            return
        for old, new in zip(
            self._caches.front(before, self._length),
            self._caches.back(len(kept), self._length),
            strict=True,
        ):
            np.take(old, kept, axis=0, out=new, mode="clip")
        self._caches.swap()
        if dropped:  # of one text, all rows attend to the same
            self._cross = [array[kept] for array in self._cross]
            self._ids = None if self._ids is None else self._ids[kept]


def write(
    spec: Generation, backend: StepBackend, sources: Sequence[SourceStates], **options: Any
) -> list[Written]:
    """Write an answer to each source, in their order; equally long ones together.

    Args:
        spec: of the decoder.
        backend: computes its scores.
        sources: of texts.
        options: see `SearchOptions.of`.

    Raises:
        InvalidSetting: for an option out of its range, or caches that would be too large.
        GraphError: when a graph fails, or gives scores that are no numbers.
    """
    chosen = SearchOptions.of(spec, **options)
    numbered = list(enumerate(sources))
    found: dict[int, Written] = {}
    for writing in together(spec, backend, chosen, [(s, number) for number, s in numbered]):
        while not writing.done:
            writing.advance()
        for number, search in zip(writing.texts, writing.searches, strict=True):
            if search.problem is not None:
                raise search.problem
            found[number] = search.written()
    return [found[number] for number, _ in numbered]


def together(
    spec: Generation,
    backend: StepBackend,
    options: SearchOptions,
    texts: Iterable[tuple[SourceStates, Any]],
) -> Iterator[Writing]:
    """Texts in groups whose sources are equally long, of as many rows as are worth it."""
    by_length: dict[int, list[tuple[SourceStates, Any]]] = {}
    for source, text in texts:
        by_length.setdefault(len(source.states), []).append((source, text))
    for length, group in by_length.items():
        size = cache_bytes(spec, options, length)
        most = max(1, min(_MOST_ROWS // options.beams, _SHARED_BYTES // size))
        if spec.copies or not getattr(backend, "rows_alike", True):
            # onnxruntime's Log may round a number otherwise in another place of an array (1.32),
            # and rows of a vocabulary change places with mates.
            most = 1
        for first in range(0, len(group), most):
            part = group[first : first + most]
            yield Writing(
                backend, spec, options, [source for source, _ in part], [text for _, text in part]
            )


def cache_bytes(spec: Generation, options: SearchOptions, source: int) -> int:
    """Bytes in all caches of one text, whose source has so many tokens."""
    return spec.token_bytes * options.beams * (2 * options.max_tokens + source)


def _search(spec: Generation, options: SearchOptions, source: NDArray[np.int64] | None) -> Search:
    return (Greedy if options.beams == 1 else Beams)(spec, options, source)
