"""The decoder of a head kind: logits in, a typed result out."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.text.encoding import Encoding


def plain(part: object) -> dict[str, Any]:
    """The attributes of a part of a result, such as a span, as plain data for JSON."""
    return {name: getattr(part, name) for name in type(part).__slots__}  # type: ignore[attr-defined]


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
        """Plain data for JSON."""
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
        `options`, a tuple of names.

        Args:
            logits: `(labels,)`, `(1,)` or `(hidden,)` for heads that answer per text, `(windows,
                …)` where the text was read in several; `(tokens, outputs)` for heads that answer
                per token, all windows one after another; float32.
            encoding: the text with its token offsets.
        """
        ...
