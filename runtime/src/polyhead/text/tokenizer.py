"""Text into token ids with offsets into the caller's own string.

The only place of the project that tokenises: training, export and serving all come here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

from polyhead.bundle.manifest import SpecialTokens
from polyhead.bundle.reader import Bundle
from polyhead.bundle.tokenizer_check import check_tokenizer
from polyhead.errors import BundleError, InvalidText
from polyhead.text.encoding import Encoding, Input


class Tokenizer:
    """A fast tokenizer (`tokenizer.json`) with truncation and padding switched off for good.

    Attributes:
        special_tokens: how special tokens in texts are read. Added tokens that are not special,
            such as names that a domain has, are found in texts in any case.
    """

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, special_tokens: SpecialTokens = "parse"
    ) -> None:
        """Take over `tokenizer`, which is changed in place."""
        # The library reads it at every call. Without it, `encode_batch` starts threads, which a
        # fork leaves behind; tokenizers 0.21 warns about that.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special_tokens = special_tokens
        if special_tokens == "text":
            _read_special_tokens_as_text(tokenizer)

    @classmethod
    def from_file(cls, path: Path, *, special_tokens: SpecialTokens = "parse") -> Tokenizer:
        """Read `tokenizer.json`.

        Raises:
            BundleError: when the file is missing, or as for `from_json`.
        """
        try:
            content = path.read_bytes()  # the library cannot take every path in every locale
        except OSError as problem:
            raise BundleError(f"{path}: cannot be read: {problem.strerror}.") from problem
        return cls.from_json(content, special_tokens, where=str(path))

    @classmethod
    def from_json(
        cls,
        content: str | bytes,
        special_tokens: SpecialTokens,
        *,
        where: str = "tokenizer.json",
    ) -> Tokenizer:
        """Of the content of a `tokenizer.json`; `where` is for messages.

        Raises:
            BundleError: when the `tokenizers` library cannot read it, or it holds what
                `polyhead.bundle.tokenizer_check` refuses.
        """
        data = content.encode("utf-8") if isinstance(content, str) else content
        check_tokenizer(data, where)
        try:
            return cls(tokenizers.Tokenizer.from_buffer(data), special_tokens)
        except BaseException as problem:
            _reraise_signals(problem)
            raise BundleError(
                f"{where}: the tokenizers library {tokenizers.__version__} cannot read it:"
                f" {problem}. Expected the tokenizer.json of a fast tokenizer."
            ) from problem

    @classmethod
    def of_bundle(cls, bundle: Bundle, content: bytes | None = None) -> Tokenizer:
        """That of a bundle, which reads texts as the bundle says.

        Args:
            bundle: the bundle.
            content: of its `tokenizer.json`, when it has been read already.

        Raises:
            BundleError: when it cannot be read.
        """
        manifest = bundle.manifest
        content = bundle.content(manifest.tokenizer) if content is None else content
        where = str(bundle.file(manifest.tokenizer))
        return cls.from_json(content, manifest.special_tokens, where=where)

    def reading(self, special_tokens: SpecialTokens) -> Tokenizer:
        """The same tokenizer that reads special tokens in texts so; itself, where it does."""
        if special_tokens == self.special_tokens:
            return self
        return Tokenizer.from_json(self.to_json(), special_tokens)

    def __reduce__(self) -> tuple[Any, ...]:
        # The library's own pickle forgets how special tokens are read.
        return Tokenizer.from_json, (self.to_json(), self.special_tokens)

    def to_json(self) -> str:
        """The tokenizer as the text of a `tokenizer.json`."""
        text: str = self._tokenizer.to_str(pretty=False)
        return text

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def vocabulary(self) -> dict[str, int]:
        """Ids by token, added tokens included."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens; ids that there are not are passed over."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        """Tokenise `inputs`; an empty list gives an empty list, an empty text special tokens only.

        Raises:
            InvalidText: for an item that is neither a `str` nor a pair of them, or holds a lone
                surrogate; names its index.
            BundleError: when the tokenizer is broken, such as one without its own unknown token.
        """
        # One after another: the library is no faster with all at once (120 ms against 134 for 1,500
        # texts of 28 tokens, tokenizers 0.23), and its error does not say which text is to blame.
        return [self.encode_one(item, index) for index, item in enumerate(inputs)]

    def encode_one(self, item: Input, index: int = 0) -> Encoding:
        """Tokenise one input, the `index`-th of the caller's; raises what `encode` raises."""
        return self.encode_texts(*parts(item, index), index)

    def encode_texts(
        self, query: str | None, text: str, index: int = 0, *, offsets: bool = True
    ) -> Encoding:
        """Tokenise a text, or a pair whose first text is `query`; otherwise as `encode_one`.

        Args:
            query: the first text of a pair; None for a single text.
            text: the text.
            index: of the input, for messages.
            offsets: whether something will ask for offsets, as heads that answer per token do.
                Without, a text is tokenised in five sixths of the time; if something asks all the
                same, it is tokenised once again. Pairs always have them.
        """
        quick = query is None and not offsets
        try:
            # `encode` holds Python's lock: two threads need 135 ms with it, and 82 without.
            batch = self._tokenizer.encode_batch_fast if quick else self._tokenizer.encode_batch
            encoded = batch([text if query is None else (query, text)])[0]
        except TypeError as problem:
            raise InvalidText(_surrogate([query or "", text], index), index=index) from problem
        except BaseException as problem:
            _reraise_signals(problem)
            raise BundleError(
                f"input {index}: the tokenizers library {tokenizers.__version__} cannot use this"
                f" bundle's tokenizer: {problem}. Export the bundle again."
            ) from problem
        ids = np.array(encoded.ids, dtype=np.int64)
        if quick:
            return _WithoutOffsets.of(text, ids, self)
        special = np.array(encoded.special_tokens_mask, dtype=bool)
        # Twice as fast as np.array: 5 µs of 10 for 16 tokens.
        flat_offsets = chain.from_iterable(encoded.offsets)
        places = np.fromiter(flat_offsets, np.int64, 2 * len(ids)).reshape(-1, 2)
        if query is None:
            return Encoding(text=text, ids=ids, offsets=places, special=special)
        special |= np.array([part == 0 for part in encoded.sequence_ids], dtype=bool)
        places[special] = 0
        types = np.array(encoded.type_ids, dtype=np.int64)
        return Encoding(
            text=text, ids=ids, offsets=places, special=special, query=query, types=types
        )


class _WithoutOffsets(Encoding):
    """A single text; it is tokenised again when offsets or special tokens are asked for."""

    __slots__ = ("_tokenizer",)

    @classmethod
    def of(cls, text: str, ids: NDArray[np.int64], tokenizer: Tokenizer) -> Encoding:
        """Everything but the offsets and what is special."""
        made = cls.__new__(cls)
        put = object.__setattr__  # it is frozen
        put(made, "text", text)
        put(made, "ids", ids)
        put(made, "_tokenizer", tokenizer)
        put(made, "truncated", False)
        put(made, "query", None)
        put(made, "types", None)
        put(made, "starts", (0,))
        put(made, "firsts", (0,))
        return made

    def __getattr__(self, name: str) -> Any:
        """Called for attributes that are not set yet."""
        if name not in ("offsets", "special"):
            raise AttributeError(name)
        whole = self._tokenizer.encode_texts(None, self.text)
        object.__setattr__(self, "offsets", whole.offsets)
        object.__setattr__(self, "special", whole.special)
        return getattr(whole, name)


def _read_special_tokens_as_text(tokenizer: tokenizers.Tokenizer) -> None:
    """Let no text become a special token, nor a token that is put around texts or between them.

    `encode_special_tokens` alone is not enough: it passes over added tokens that are called
    special, and leaves the text to the model. A Unigram model has the special tokens among its
    pieces, and others take a whole word that is in the vocabulary.
    """
    added = tokenizer.get_added_tokens_decoder()
    special = {*tokenizer.encode("").ids, *tokenizer.encode("", "").ids}
    for number in special & added.keys():
        added[number].special = True
    tokenizer.add_special_tokens([token for token in added.values() if token.special])
    tokenizer.encode_special_tokens = True
    special |= {number for number, token in added.items() if token.special}
    names = {number: str(tokenizer.id_to_token(number)) for number in special}
    probe = " ".join(f"{name} a{name}a" for name in names.values())
    encoded = tokenizer.encode(probe, add_special_tokens=False)
    read = {(n, probe[i:j].strip()) for n, (i, j) in zip(encoded.ids, encoded.offsets, strict=True)}
    # A boundary behind the first character, which no piece of a model crosses.
    boundaries = "|".join(
        f"{re.escape(name[0])}(?={re.escape(name[1:])})"
        for number, name in sorted(names.items())
        if (number, name) in read and len(name) > 1
    )
    if boundaries:
        own = tokenizer.pre_tokenizer
        split = pre_tokenizers.Split(tokenizers.Regex(boundaries), "isolated")
        tokenizer.pre_tokenizer = split if own is None else pre_tokenizers.Sequence([own, split])


def parts(item: Any, index: int = 0) -> tuple[str | None, str]:
    """First and second text of an input, as plain `str`; a single text has no first.

    Raises:
        InvalidText: for what is neither a `str` nor a pair of them; names `index`.
    """
    if isinstance(item, str):
        return None, str.__str__(item)
    if isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(x, str) for x in item):
        return str.__str__(item[0]), str.__str__(item[1])
    if _is_missing(item):
        raise InvalidText(
            f"input {index}: found a missing value ({item}), expected a str. Leave it out, as"
            " dropna() does, or have its error in its place with predict(…, errors='return').",
            index=index,
        )
    raise InvalidText(
        f"input {index}: found {type(item).__name__}, expected a str, or a pair of str such as"
        " (question, text). Decode bytes first; pass several texts as one list of str.",
        index=index,
    )


def _is_missing(item: object) -> bool:
    """Whether a table has nothing here: None, NaN, and NA and NaT of pandas."""
    nan = isinstance(item, float) and math.isnan(item)
    return item is None or nan or type(item).__name__ in ("NAType", "NaTType")


def _surrogate(texts: Sequence[str], index: int) -> str:
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as problem:
            return (
                f"input {index}: a lone surrogate U+{ord(text[problem.start]):04X} at character"
                f" {problem.start}, which is no Unicode text. Decode the bytes again with"
                " errors='replace'."
            )
    return f"input {index}: the tokenizer refused this text."


def _reraise_signals(problem: BaseException) -> None:
    """Let what ends a program pass.

    The library raises bare `Exception`, and for its bugs a `PanicException` under `BaseException`.
    """
    if isinstance(problem, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        raise problem
