"""Answers that decoders write: texts wait until the encoder has read them, and take their turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead._call.request import GraphRun
from polyhead._model import Writer
from polyhead.errors import PolyheadError, of_input
from polyhead.heads.generation import Generated
from polyhead.inference.generation import Writing, together
from polyhead.inference.scheduler import Arrays, Job, Scheduler, Wanted

Waiting = list[tuple[Job[GraphRun], NDArray[np.float32]]]
"""Texts, and the encoder's states of each, `(tokens, hidden)`, all windows one after another."""

_WAITING_BYTES = 2**26  # of states
_HELD_BACK = 3  # tokens of a stream


class WaitingTexts:
    """Texts that wait to be written, by head, so that equally long ones are written together."""

    def __init__(self, scheduler: Scheduler) -> None:
        """None waits yet; `scheduler` has the places in which they are written."""
        self._scheduler = scheduler
        self._texts: dict[str, Waiting] = {}
        self._bytes = 0

    @property
    def many(self) -> bool:
        """Whether they should be written before more are taken, for the sake of memory."""
        return self._bytes > _WAITING_BYTES

    def add(self, job: Job[GraphRun], logits: Arrays) -> None:
        """A text whose states are there, for all heads of its run that write."""
        for name, column, _ in job.run.heads:
            if name in job.run.writers:
                self._texts.setdefault(name, []).append((job, logits[column]))
                self._bytes += logits[column].nbytes

    def written(
        self, settings: Mapping[str, Mapping[str, Any]], wanted: Wanted | None
    ) -> Iterator[tuple[str, int, Generated | PolyheadError | None]]:
        """Have all of them written; they wait no longer.

        Args:
            settings: of the call, by head.
            wanted: asked for the rows of a text before each token; None for all.

        Returns:
            Head, row and answer; why there is none; None for a text that is not wanted any more.
        """

        def is_wanted(job: Job[GraphRun]) -> bool:
            return wanted is None or any(map(wanted, job.rows))

        def step(writing: Writing) -> bool:
            writing.advance(is_wanted)
            return writing.done

        found, self._texts, self._bytes = self._texts, {}, 0
        for name, texts in found.items():
            writer, writings = _writings(name, texts, settings.get(name, {}))
            for writing in self._scheduler.in_turns(writings, step):
                for job, search in zip(writing.texts, writing.searches, strict=True):
                    answer: Generated | PolyheadError | None = search.problem
                    if answer is None and not search.dropped:
                        answer = writer.result(search.written(), job.encoding)
                    for row in job.rows:
                        yield name, row, answer

    def pieces(
        self, settings: Mapping[str, Any], wanted: Callable[[], bool] | None
    ) -> Iterator[str | Generated]:
        """Write the only one, greedily; see `Engine.stream`."""
        ((name, texts),) = self._texts.items()
        writer, (writing,) = _writings(name, texts, settings)
        ((job, _),), (search,) = texts, writing.searches
        growing = GrowingText()
        while not writing.done:
            if wanted is not None and not wanted():
                return
            self._scheduler.in_a_place(writing.advance)
            if search.problem is not None:
                raise of_input(search.problem, 0)
            if piece := growing.piece(writer.tokenizer.decode(search.written().ids)):
                yield piece
        result = writer.result(search.written(), job.encoding)
        if piece := growing.rest(result.text):
            yield piece
        yield result


class GrowingText:
    """What can be told of a text that grows token by token: what later tokens leave as it is.

    A token may be a part of a character, U+FFFD until the last one comes, and some decoders join
    what has three tokens, such as "don't". So the last tokens are held back.
    """

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=_HELD_BACK + 1)
        self._told = ""

    def piece(self, now: str) -> str:
        """What is new and stays, of the text after one more token; often empty."""
        self._recent.append(now)
        if len(self._recent) <= _HELD_BACK:
            return ""
        two = zip(min(self._recent), max(self._recent), strict=False)
        same = takewhile(lambda characters: characters[0] == characters[1], two)
        return self.rest("".join(each for each, _ in same).rstrip("\ufffd"))

    def rest(self, text: str) -> str:
        """What is not told yet of a text that stays."""
        new = text[len(self._told) :] if text.startswith(self._told) else ""
        self._told += new
        return new


def _writings(
    head: str, texts: Waiting, settings: Mapping[str, Any]
) -> tuple[Writer, Iterator[Writing]]:
    """What writes for a head, and its texts in groups; nothing is computed yet."""
    writer = texts[0][0].run.writers[head]
    sources = ((writer.source(states, job.encoding), job) for job, states in texts)
    search = writer.search(settings)
    return writer, together(writer.decoder.generation, writer.backend, search, sources)
