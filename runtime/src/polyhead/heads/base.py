"""The decoder of a head kind: logits in, a typed result out."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.errors import GraphError, InputError
from polyhead.text.encoding import Encoding

_TINY = float(np.finfo(np.float32).tiny)
_ROUNDING = float(np.finfo(np.float64).epsneg)


def plain(part: object) -> dict[str, Any]:
    """The attributes of a part of a result, such as a span, as plain data for JSON."""
    return {name: getattr(part, name) for name in type(part).__dataclass_fields__}  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A part of the text.

    Attributes:
        text: exactly `original[start:end]`.
        start: first character, in code points of the caller's string; of a pair, of its second
            text.
        end: one past the last character.
        score: how sure it is, 0 to 1.
    """

    text: str
    start: int
    end: int
    score: float


class Result(Protocol):
    """One head's answer to one text. `str(result)` is one line for a person.

    A result with offsets into the text also has ``with_offsets(place)``, which gives a copy whose
    offsets are ``place(offset)``; see `Prediction.utf16`.
    """

    @property
    def decision(self) -> Hashable:
        """What the caller would act on: equal decisions mean equal answers, scores aside."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON.

        The first value is the answer: in a table it is called after the head, see
        `Prediction.to_row`. Where text, start and end are together, a notebook marks the text.
        """
        ...


class Decoder(Protocol):
    """Turns the logits of one text into a result. Made once for each head, at load."""

    def __init__(self, spec: HeadSpec) -> None: ...

    @property
    def width(self) -> int | None:
        """Size of the last axis of the logits; None when any size will do."""
        ...

    def decode(self, logits: NDArray[np.float32], encoding: Encoding) -> Result:
        """Decode one text.

        A decoder may take settings for one call as keyword arguments; it names them in an attribute
        `options`, a tuple of names. One that does not look at a text's single tokens says so by
        ``needs_offsets = False``: texts are tokenised sooner without. One whose results carry one
        confidence, 0 to 1, has a method ``confidence(result)``, for results of calls without
        settings: the head can be in a cascade then.

        Args:
            logits: `(labels,)`, `(1,)` or `(hidden,)` for heads that answer per text, `(windows,
                …)` where the text was read in several; `(tokens, outputs)` for heads that answer
                per token, all windows one after another; float32.
            encoding: the text with its token offsets.
        """
        ...


def decoded(
    name: str,
    decoder: Decoder,
    logits: NDArray[np.float32],
    encoding: Encoding,
    settings: Mapping[str, Any],
    row: int,
) -> Result:
    """What the decoder of a head makes of its logits; `name` and the text's `row` are for messages.

    Raises:
        GraphError: for logits of another shape than its kind has for this text.
        InputError: for the value of a setting.
    """
    windows = len(encoding.starts)
    rows = logits.shape[:-1] in ((len(encoding.ids),), (windows,) if windows > 1 else ())
    try:
        if not rows or decoder.width not in (None, *logits.shape[-1:]):
            raise ValueError("no logits of this head")
        return decoder.decode(logits, encoding, **settings)
    except InputError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as problem:
        raise unreadable(name, logits, encoding, row) from problem


def unreadable(name: str, logits: NDArray[np.float32], encoding: Encoding, row: int) -> GraphError:
    """The error for logits of another shape than a head's kind has."""
    return GraphError(
        f"input {row}: the head {name!r} cannot read the graph's logits of the shape"
        f" {logits.shape} for {len(encoding.ids)} tokens in {len(encoding.starts)} windows."
        " Export the bundle again."
    )


def short_repr(result: object) -> str:
    """For results with hundreds of scores or numbers: what `str` says, and the class."""
    return f"{type(result).__name__}({result})"


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out white space that some tokenizers count to a token, and keep marks with their base.

    An accent that follows its letter as a character of its own belongs to no token when the
    tokenizer strips accents.
    """
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return start, end


def probabilities(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Softmax of a few numbers at a temperature; nothing overflows.

    Without numpy: behind a graph, which has taken the CPU's caches, ten labels take 23 µs so and 51
    with `softmax`.
    """
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities over the last axis, shifted by the maximum so that nothing overflows."""
    # The ufuncs themselves: the methods of arrays are the same by way of Python.
    weights: NDArray[np.float32] = np.exp(
        logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
    )
    weights /= np.add.reduce(weights, axis=-1, keepdims=True)
    return weights


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities of labels that exclude each other, `(…, labels)`, at another temperature.

    ``softmax(log p / T)``, after Guo et al. 2017, section 4.2; the order stays. Of probabilities
    and not of logits, so that windows are averaged first.
    """
    logits = np.log(np.maximum(probabilities, _TINY)) / temperature
    return softmax(np.asarray(logits, dtype=np.float32))


def tempered_odds(
    probabilities: NDArray[np.float64], temperature: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The probability of each label by itself at another temperature: ``sigmoid(logit(p) / T)``.

    Args:
        probabilities: `(…, labels)`.
        temperature: `(1,)` or `(labels,)`.
    """
    inside = np.clip(probabilities, _TINY, 1 - _ROUNDING)
    return sigmoid((np.log(inside) - np.log1p(-inside)) / temperature)


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """The probability of each logit by itself, of any shape; nothing overflows.

    In float64, where probabilities near 1 still differ: thresholds are set between them.
    """
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))
