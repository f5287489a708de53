"""A caller's inputs: checked, then read by one tokenizer or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polyhead.errors import InputError, InvalidSetting, InvalidText, TextTooLong, WrongInput
from polyhead.text.encoding import Encoding, least_room
from polyhead.text.tokenizer import Tokenizer, parts

OnOverflow = Literal["window", "truncate", "error"]
_ON_OVERFLOW = ("window", "truncate", "error")
OnError = Literal["raise", "return"]

KINDS = {"text": "a single text", "pair": "a pair of texts"}
"""The kinds of inputs, and how messages call them."""

CheckedText = tuple[str | None, str]
"""An input that was checked: of a pair both texts; a single text has no first."""


@dataclass(frozen=True)
class OverflowPolicy:
    """What happens to inputs that are too long.

    Attributes:
        on_overflow: of a text of more tokens than the encoder reads.
        max_characters: longest input, both texts of a pair together; None for no limit.
    """

    on_overflow: OnOverflow = "window"
    max_characters: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.on_overflow, str) or self.on_overflow not in _ON_OVERFLOW:
            raise InvalidSetting(
                f"on_overflow={self.on_overflow!r}: allowed: {', '.join(_ON_OVERFLOW)}."
            )
        if self.max_characters is not None and (
            type(self.max_characters) is not int or self.max_characters < 1
        ):
            raise InvalidSetting(
                f"max_characters={self.max_characters!r}: expected None or a whole number of at"
                " least 1."
            )

    def fit(self, encoding: Encoding, limit: int, stride: int, index: int) -> Encoding:
        """An encoding of more than `limit` tokens, in windows or cut.

        Args:
            encoding: of the whole input.
            limit: tokens that the encoder reads.
            stride: tokens that windows share.
            index: of the input, for messages.

        Raises:
            TextTooLong: when it may not be read in parts, or the first text of a pair leaves no
                room for the second.
        """
        room = encoding.room(limit)
        if room < least_room(limit):
            raise TextTooLong(
                f"input {index}: the first text of the pair leaves {max(0, room)} of {limit:,}"
                f" tokens for the second, at least {least_room(limit)} are needed. The first is"
                " never cut: shorten it.",
                index=index,
            )
        if self.on_overflow == "window":
            return encoding.windowed(limit, stride)
        if self.on_overflow == "truncate":
            return encoding.cut(limit)
        raise TextTooLong(
            f"input {index}: {len(encoding):,} tokens; this encoder reads {limit:,}. Split the"
            " text, or load with on_overflow='window' to have it read in parts, or 'truncate' to"
            " leave the end out.",
            index=index,
        )


@dataclass(frozen=True)
class InputReader:
    """How an encoder reads inputs of a kind; equal for those that give the same windows.

    Attributes:
        tokenizer: makes the token ids.
        max_tokens: longest window, special tokens included.
        stride: tokens that windows share.
    """

    tokenizer: Tokenizer
    max_tokens: int
    stride: int


def check(
    texts: Iterable[Any],
    policy: OverflowPolicy,
    refused: Mapping[str, str],
    errors: OnError = "raise",
) -> list[CheckedText | InputError]:
    """Look at all inputs, which is cheap, before the first is tokenised.

    Args:
        texts: the caller's list, or whatever else gives its texts one by one.
        policy: for the number of characters.
        refused: the kinds of inputs that cannot be answered, and why.
        errors: ``"raise"`` the first error, or ``"return"`` errors in their inputs' places.

    Raises:
        InvalidText: for what gives no texts one by one, and for what is neither a `str` nor a pair
            of them.
        TextTooLong: above `max_characters`.
        WrongInput: for a kind that is refused.
    """
    if type(texts) is not list:
        _refuse_no_column(texts)
    if errors not in ("raise", "return"):
        raise InvalidSetting(f"errors={errors!r}: allowed: raise, return.")
    found: list[CheckedText | InputError] = []
    for index, item in enumerate(texts):
        try:
            query, text = (None, item) if type(item) is str else parts(item, index)
            kind = "text" if query is None else "pair"
            characters = len(text) if query is None else len(query) + len(text)
            if policy.max_characters is not None and characters > policy.max_characters:
                raise TextTooLong(
                    f"input {index}: {characters:,} characters, at most"
                    f" {policy.max_characters:,} are allowed. Split the text, or load with a larger"
                    " max_characters.",
                    index=index,
                )
            if kind in refused:
                raise WrongInput(
                    f"input {index}: found {KINDS[kind]}, but {refused[kind]}.", index=index
                )
            found.append((query, text))
        except InputError as problem:
            if errors == "raise":
                raise
            found.append(without_frames(problem))
    return found


def _refuse_no_column(texts: object) -> None:
    """Text by text comes from a list, a generator or a column, but not from a text or a table."""
    found = type(texts).__name__
    if isinstance(texts, str | bytes | bytearray) or not isinstance(texts, Iterable):
        raise InvalidText(
            f"texts: found {found}, expected a list of str, or another iterable of them."
            " For one text call engine(text)."
        )
    # Both would give the names of their columns.
    if isinstance(texts, Mapping) or getattr(texts, "ndim", 1) != 1:
        raise InvalidText(
            f"texts: found {found}, expected one column of texts: name it, as in table['text']."
        )


def without_frames(problem: InputError) -> InputError:
    """An error to hand out: the frames that it was raised in would keep sessions alive."""
    if problem.__cause__ is not None:
        problem.__cause__.__traceback__ = None
    return problem.with_traceback(None)


def read(
    texts: CheckedText,
    index: int,
    readers: Sequence[InputReader],
    policy: OverflowPolicy,
    *,
    offsets: bool = True,
) -> tuple[Encoding, ...]:
    """An input as each of `readers` reads it; tokenised once for all with one tokenizer.

    `offsets` is for `Tokenizer.encode_texts`.

    Raises:
        InvalidText: when it holds a lone surrogate, or has not one token.
        TextTooLong: when it does not fit and may not be read in parts.
    """
    raw: dict[int, Encoding] = {}
    found: list[Encoding] = []
    for reader in readers:
        key = id(reader.tokenizer)
        encoding = raw.get(key)
        if encoding is None:
            encoding = raw[key] = reader.tokenizer.encode_texts(*texts, index, offsets=offsets)
            if not len(encoding.ids):
                raise InvalidText(
                    f"input {index}: no token: it is empty or blank, and this model's tokenizer"
                    " puts no special tokens around a text. Leave it out.",
                    index=index,
                )
        if len(encoding.ids) > reader.max_tokens:
            encoding = policy.fit(encoding, reader.max_tokens, reader.stride, index)
        found.append(encoding)
    return tuple(found)
