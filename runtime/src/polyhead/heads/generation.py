"""generation.v1: a text that a decoder writes, attending to the encoder's states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.generation import OPTIONS
from polyhead.bundle.head_spec import HeadSpec
from polyhead.errors import ManifestError
from polyhead.heads.base import plain, trimmed
from polyhead.text.encoding import Encoding
from polyhead.text.tokenizer import Tokenizer

_MOST_SOURCE = 16_384  # tokens; what is attended to grows with them, and so does each step


@dataclass(frozen=True, slots=True)
class Copied:
    """A part of the caller's text that a decoder copied.

    Attributes:
        text: exactly `original[start:end]`.
        start: first character, in code points of the caller's string; of a pair, of its second
            text.
        end: one past the last character.
        written_start: first character of the copy in the written text.
        written_end: one past its last character. The copy may differ in case or blanks.
    """

    text: str
    start: int
    end: int
    written_start: int
    written_end: int


@dataclass(frozen=True, slots=True)
class Generated:
    """A text that a decoder wrote. It may say what the caller's text does not.

    Attributes:
        text: what was written.
        score: mean log-probability of its tokens, at most 0; with another `length_penalty` than 1
            their sum, divided by their number to the power of it.
        tokens: tokens that were written, the end token too: the steps that it took.
        finished: whether the decoder ended it, and not the limit of tokens.
        copied: parts of the caller's text that were copied, in the order of the written one; empty
            for a decoder that cannot.
        truncated: whether the decoder did not read the end of the text: one that reads the first
            window only, or a text of more than 16,384 tokens.
    """

    text: str
    score: float
    tokens: int
    finished: bool
    copied: tuple[Copied, ...] = ()
    truncated: bool = False

    @property
    def decision(self) -> str:
        """The text."""
        return self.text

    def with_offsets(self, place: Callable[[int], int]) -> Generated:
        """The same with other offsets; those in the written text are in UTF-16 code units then."""

        def own(offset: int) -> int:
            return len(self.text[:offset].encode("utf-16-le", "surrogatepass")) // 2

        return replace(
            self,
            copied=tuple(
                replace(
                    each,
                    start=place(each.start),
                    end=place(each.end),
                    written_start=own(each.written_start),
                    written_end=own(each.written_end),
                )
                for each in self.copied
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return plain(self) | {"copied": [plain(each) for each in self.copied]}

    def __str__(self) -> str:
        return f"{self.text!r}{'' if self.finished else ' (cut)'}  {self.score:.2f}"


class Read(NamedTuple):
    """What a decoder reads of a text.

    Attributes:
        rows: indices of its tokens.
        ids: their ids, -1 for what is not copied; None for a decoder that copies nothing.
        truncated: whether the end of the text is not among them.
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.int64] | None
    truncated: bool


class GenerationDecoder:
    """What the decoder's graphs are fed, and what becomes of the ids that a search chose.

    The search itself is in `polyhead.inference.generation`; an engine brings them together.
    """

    width = None
    options = OPTIONS

    def __init__(self, spec: HeadSpec) -> None:
        if spec.generation is None:
            raise ManifestError(
                "a head of the kind generation.v1 has no 'generation', which says how its decoder"
                " writes. Export the bundle again."
            )
        self.generation = spec.generation
        self.needs_offsets = spec.generation.copies

    def decode(self, logits: NDArray[np.float32], encoding: Encoding, **_: Any) -> Generated:
        """Nothing is decoded without the graphs.

        Raises:
            ManifestError: always.
        """
        raise ManifestError(
            "a head of the kind generation.v1 answers with graphs of its own. Ask an engine that"
            " has them: polyhead.load, or Engine(…, steps={head: back end})."
        )

    def read(self, encoding: Encoding) -> Read:
        """The tokens of a text that the decoder attends to.

        Of several windows, special tokens before the text are those of the first and those behind
        it those of the last, and each token between them is taken from one window only.
        """
        rows, truncated = np.arange(len(encoding)), encoding.truncated
        if len(encoding.starts) > 1 and self.generation.windows == "first":
            rows, truncated = rows[encoding.windows[0]], True
        elif len(encoding.starts) > 1:
            body = encoding.body
            rows = np.concatenate([rows[: body[0]], body, rows[body[-1] + 1 :]])
        if len(rows) > _MOST_SOURCE:
            rows, truncated = rows[:_MOST_SOURCE], True
        if not self.generation.copies:
            return Read(rows, None, truncated)
        ids = encoding.ids[rows]
        foreign = encoding.special[rows] | (ids >= self.generation.vocabulary)
        return Read(rows, np.where(foreign, -1, ids), truncated)

    def result(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        *,
        score: float,
        finished: bool,
        encoding: Encoding,
        tokenizer: Tokenizer,
    ) -> Generated:
        """The answer of a search.

        Args:
            ids: tokens that were written, the end token too.
            positions: for each the row of `Read` that it was copied from, or -1; empty for a
                decoder that copies nothing.
            score: of all of it.
            finished: whether the decoder ended it.
            encoding: of the text.
            tokenizer: makes text of ids.
        """
        read = self.read(encoding)
        text = tokenizer.decode(ids)
        copied = (
            self._copied(ids, positions, read, encoding, tokenizer)
            if any(place >= 0 for place in positions)
            else ()
        )
        return Generated(text, score, len(ids), finished, copied, read.truncated)

    def _copied(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        read: Read,
        encoding: Encoding,
        tokenizer: Tokenizer,
    ) -> tuple[Copied, ...]:
        """Runs of tokens that were copied from neighbours."""
        found = []
        text = tokenizer.decode(ids)
        ends = [0, *(len(tokenizer.decode(ids[: count + 1])) for count in range(len(ids)))]
        first = 0
        while first < len(ids):
            last = first
            while last + 1 < len(ids) and positions[last + 1] == positions[last] + 1 > 0:
                last += 1
            if positions[first] >= 0:
                rows = read.rows[[positions[first], positions[last]]]
                start, end = trimmed(
                    encoding.text,
                    int(encoding.offsets[rows[0], 0]),
                    int(encoding.offsets[rows[1], 1]),
                )
                place = trimmed(text, min(ends[first], len(text)), min(ends[last + 1], len(text)))
                if start < end and place[0] < place[1]:
                    found.append(Copied(encoding.text[start:end], start, end, *place))
            first = last + 1
        return tuple(found)
