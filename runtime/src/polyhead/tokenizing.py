"""Text into token ids with offsets into the caller's own string.

The only place of the project that tokenises: training, export and serving all come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from polyhead.errors import BundleError, InvalidText


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text as the encoder reads it.

    Attributes:
        text: the caller's string, untouched.
        ids: token ids, int64 `(tokens,)`, special tokens included, never padded.
        offsets: int64 `(tokens, 2)`, start and end of each token in code points of `text`;
            special tokens have `(0, 0)`.
        special: bool `(tokens,)`, True for tokens that stand for no part of the text.
        truncated: True when tokens at the end were left out on the caller's demand.
    """

    text: str
    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    special: NDArray[np.bool_]
    truncated: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, tokens: int) -> Encoding:
        """The first `tokens` tokens of the text, with the closing special tokens kept.

        `tokens` counts special tokens too. An encoding that fits is returned as it is.
        """
        if len(self) <= tokens:
            return self
        body = np.flatnonzero(~self.special)
        closing = len(self) - 1 - int(body[-1])
        keep = np.r_[0 : tokens - closing, len(self) - closing : len(self)]
        return Encoding(self.text, self.ids[keep], self.offsets[keep], self.special[keep], True)


class Tokenizer:
    """A fast tokenizer (`tokenizer.json`) with truncation and padding switched off for good."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read `tokenizer.json`.

        Raises:
            BundleError: when the file is missing or the `tokenizers` library cannot read it.
        """
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except Exception as problem:  # the library raises bare Exception
            raise BundleError(
                f"{path}: the tokenizers library {tokenizers.__version__} cannot read it:"
                f" {problem}. Expected the tokenizer.json of a fast tokenizer."
            ) from problem

    def to_json(self) -> str:
        """The tokenizer as the text of a `tokenizer.json`."""
        text: str = self._tokenizer.to_str(pretty=False)
        return text

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenise `texts`; an empty list gives an empty list, an empty text special tokens only.

        Raises:
            InvalidText: for an item that is not a `str` or holds a lone surrogate; names its index.
        """
        return [self._encode(text, index) for index, text in enumerate(texts)]

    def _encode(self, text: Any, index: int) -> Encoding:
        if not isinstance(text, str):
            raise InvalidText(
                f"input {index}: found {type(text).__name__}, expected a str."
                " Decode bytes first; pass several texts as one list of str.",
                index=index,
            )
        try:
            encoded = self._tokenizer.encode(text)
        except TypeError as problem:
            raise InvalidText(_surrogate(text, index), index=index) from problem
        return Encoding(
            text=text,
            ids=np.array(encoded.ids, dtype=np.int64),
            offsets=np.array(encoded.offsets, dtype=np.int64).reshape(-1, 2),
            special=np.array(encoded.special_tokens_mask, dtype=bool),
        )


def _surrogate(text: str, index: int) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        return (
            f"input {index}: a lone surrogate U+{ord(text[problem.start]):04X} at character"
            f" {problem.start}, which is no Unicode text. Decode the bytes again with"
            " errors='replace'."
        )
    return f"input {index}: the tokenizer refused this text."
