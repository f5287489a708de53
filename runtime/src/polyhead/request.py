"""What a call asks for, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from polyhead.errors import (
    InputError,
    InvalidSetting,
    InvalidText,
    TextTooLong,
    UnknownHead,
    WrongInput,
    nearest,
)
from polyhead.model import SHOWN, Model
from polyhead.text.encoding import Encoding, Input, least_room
from polyhead.text.tokenizer import parts

OnOverflow = Literal["window", "truncate", "error"]
ON_OVERFLOW = ("window", "truncate", "error")
OnError = Literal["raise", "return"]
E = TypeVar("E")
T = TypeVar("T")

Options = Mapping[str, Mapping[str, Any]]
"""Settings of single heads for one call, by head name: ``{"summary": {"ratio": 0.2}}``."""

Wanted = Mapping[str, Sequence[str]]
"""Names of the wanted heads by the kind of their input, in the order of results."""


class Spread(Protocol):
    """What gives `function(range(count))`, computed in parts by several threads."""

    def __call__(self, function: Callable[[range], list[T]], count: int) -> list[T]:
        """See `Scheduler.spread`."""
        ...


@dataclass(frozen=True)
class Reading:
    """How inputs are read.

    Attributes:
        on_overflow: what happens to a text of more tokens than the encoder reads.
        max_characters: longest input, both texts of a pair together; None for no limit.
    """

    on_overflow: OnOverflow = "window"
    max_characters: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.on_overflow, str) or self.on_overflow not in ON_OVERFLOW:
            raise InvalidSetting(
                f"on_overflow={self.on_overflow!r}: allowed: {', '.join(ON_OVERFLOW)}."
            )
        if self.max_characters is not None and (
            type(self.max_characters) is not int or self.max_characters < 1
        ):
            raise InvalidSetting(
                f"max_characters={self.max_characters!r}: expected None or a whole number of at"
                " least 1."
            )

    def check(self, item: Input, index: int) -> None:
        """Refuse what is no text, or a text of too many characters.

        Raises:
            InvalidText: for what is neither a `str` nor a pair of them.
            TextTooLong: above `max_characters`.
        """
        query, text = parts(item, index)
        characters = len(query or "") + len(text)
        if self.max_characters is not None and characters > self.max_characters:
            raise TextTooLong(
                f"input {index}: {characters:,} characters, at most {self.max_characters:,} are"
                " allowed. Split the text, or load with a larger max_characters.",
                index=index,
            )

    def encode(self, model: Model, item: Input, index: int) -> Encoding:
        """Token ids of an input as the encoder reads them, in windows or cut where it is too long.

        Raises:
            InvalidText: when it holds a lone surrogate.
            TextTooLong: when it does not fit and may not be read in parts.
        """
        return self.fitted(model, model.tokenizer.encode_one(item, index), index)

    def fitted(self, model: Model, encoding: Encoding, index: int) -> Encoding:
        """An encoding as the encoder of `model` reads it.

        Raises:
            TextTooLong: when it does not fit and may not be read in parts.
        """
        limit = model.max_tokens
        if len(encoding) <= limit:
            return encoding
        room = encoding.room(limit)
        if room < least_room(limit):
            raise TextTooLong(
                f"input {index}: the first text of the pair leaves {max(0, room)} of {limit:,}"
                f" tokens for the second, at least {least_room(limit)} are needed. The first is"
                " never cut: shorten it.",
                index=index,
            )
        if self.on_overflow == "window":
            return encoding.windowed(limit, model.strides[encoding.kind])
        if self.on_overflow == "truncate":
            return encoding.cut(limit)
        raise TextTooLong(
            f"input {index}: {len(encoding):,} tokens; this encoder reads {limit:,}. Split the"
            " text, or load with on_overflow='window' to have it read in parts, or 'truncate' to"
            " leave the end out.",
            index=index,
        )


def read(
    texts: Sequence[Input],
    model: Model,
    reading: Reading,
    spread: Spread,
    *,
    wanted: Wanted | None = None,
    by_name: bool = False,
    errors: OnError = "raise",
) -> list[Encoding | InputError]:
    """Encode all inputs, or say what is wrong with them.

    Args:
        texts: the inputs.
        model: reads them.
        reading: how.
        spread: has strips of a range done by all threads, see `Scheduler.spread`.
        wanted: heads that shall answer; None when none is asked.
        by_name: whether the caller named them; then all of them must read every input.
        errors: ``"raise"`` the first error, or ``"return"`` errors in their inputs' places.

    Raises:
        InputError: for the first input that cannot be used; names its index.
    """

    def check(item: Input, index: int) -> None:
        reading.check(item, index)
        if wanted is not None:
            check_kind(item, index, model, wanted, by_name=by_name)

    def encode(item: Input, index: int) -> Encoding:
        return reading.encode(model, item, index)

    return each(texts, check, encode, errors, spread)


def each(
    texts: Sequence[Input],
    check: Callable[[Input, int], None],
    encode: Callable[[Input, int], E],
    errors: OnError,
    spread: Spread,
) -> list[E | InputError]:
    """Check all inputs, which is cheap, then encode all; errors and `spread` as in `read`."""
    if isinstance(texts, str | bytes | bytearray) or not isinstance(texts, Sequence):
        raise InvalidText(
            f"texts: found {type(texts).__name__}, expected a list of str."
            " For one text call engine(text)."
        )
    if errors not in ("raise", "return"):
        raise InvalidSetting(f"errors={errors!r}: allowed: raise, return.")
    items = list(texts)
    problems: dict[int, InputError] = {}
    # What is cheap to see is told before a long list is tokenised.
    for index, item in enumerate(items):
        try:
            check(item, index)
        except InputError as problem:
            if errors == "raise":
                raise
            problems[index] = problem

    def encoded(rows: range) -> list[E | InputError]:
        found: list[E | InputError] = []
        for index in rows:
            try:
                found.append(problems[index] if index in problems else encode(items[index], index))
            except InputError as problem:
                if errors == "raise":
                    raise
                found.append(problem)
        return found

    return spread(encoded, len(items))


def wanted_heads(heads: Iterable[str] | None, model: Model) -> Wanted:
    """The wanted heads; None for all.

    Raises:
        UnknownHead: for a name that the model does not have; names the nearest.
    """

    def by_kind(names: Sequence[str]) -> Wanted:
        return {kind: [n for n in names if model.specs[n].input == kind] for kind in SHOWN}

    if heads is None:
        return by_kind(list(model.specs))
    if not isinstance(heads, Iterable):
        raise UnknownHead(
            f"heads: found {type(heads).__name__}, expected names of {', '.join(model.specs)}."
        )
    asked = [heads] if isinstance(heads, str) else list(heads)
    for name in asked:
        check_name(name, model.specs)
    return by_kind([name for name in model.specs if name in asked])


def check_name(name: object, known: Iterable[str]) -> None:
    """Refuse the name of a head that is not among `known`.

    Raises:
        UnknownHead: names the nearest.
    """
    names = list(known)
    if not isinstance(name, str) or name not in names:
        raise UnknownHead(
            f"no head {name!r}; this engine has {', '.join(names)}." + nearest(str(name), names)
        )


def checked_options(options: Options | None, model: Model) -> Options:
    """The settings of single heads, none for None; their values are for the heads to check.

    Raises:
        UnknownHead: for settings of a head that the model does not have.
        InvalidSetting: for a setting that a head does not have, or of another shape.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise InvalidSetting(
            f"options: found {type(options).__name__}, expected settings by head, as in"
            " {'summary': {'k': 2}}."
        )
    for head, settings in options.items():
        check_name(head, model.specs)
        if not isinstance(settings, Mapping):
            raise InvalidSetting(
                f"options: found {type(settings).__name__} for the head {head!r}, expected"
                " values by option, as in {'summary': {'k': 2}}."
            )
        allowed = model.options[head]
        for name in settings:
            if name not in allowed:
                raise InvalidSetting(
                    f"options: the head {head!r} has no option {name!r}; allowed:"
                    f" {', '.join(allowed) or 'none'}.{nearest(str(name), allowed)}"
                )
    return options


def check_kind(item: Input, index: int, model: Model, wanted: Wanted, *, by_name: bool) -> None:
    """Refuse an input that a wanted head does not read, or that no head reads.

    Raises:
        WrongInput: names a head.
    """
    kind = "text" if isinstance(item, str) else "pair"
    if not by_name and wanted[kind]:
        return
    others = [name for other, names in wanted.items() if other != kind for name in names]
    if others:
        raise WrongInput(
            f"input {index}: found {SHOWN[kind]}, but the head {others[0]!r} reads"
            f" {SHOWN[model.specs[others[0]].input]}.",
            index=index,
        )
