"""What a call may ask of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from polyhead.bundle.generation import MOST_BEAMS, MOST_PENALTY, Generation
from polyhead.errors import InvalidSetting
from polyhead.system.schema import number, whole_number


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How the next tokens are chosen; fields as those of `polyhead.bundle.Generation`.

    transformers calls them max_new_tokens, min_new_tokens, num_beams, length_penalty,
    no_repeat_ngram_size and early_stopping, and they mean the same here.
    """

    max_tokens: int
    min_tokens: int
    beams: int
    length_penalty: float
    no_repeat: int
    early_stopping: bool | Literal["never"]

    @classmethod
    def of(
        cls,
        spec: Generation,
        *,
        max_tokens: int | None = None,
        min_tokens: int | None = None,
        beams: int | None = None,
        length_penalty: float | None = None,
        no_repeat: int | None = None,
        early_stopping: bool | Literal["never"] | None = None,
    ) -> Self:
        """Those of a call; None for what the head says.

        Raises:
            InvalidSetting: when one is out of its range, or the caches would be too large.
        """
        most = spec.default_tokens
        if max_tokens is not None:
            most = whole_number("max_tokens", max_tokens, most=spec.max_tokens)
        least = min(spec.min_tokens, most)
        if min_tokens is not None:
            least = whole_number("min_tokens", min_tokens, least=0, most=spec.max_tokens)
        if least > most:
            raise InvalidSetting(
                f"min_tokens={least}: more than max_tokens, {most}. Give a larger max_tokens, too."
            )
        if early_stopping is not None and not _stops(early_stopping):
            raise InvalidSetting(
                f"early_stopping={early_stopping!r}: allowed: True, False, 'never'."
            )
        return cls(
            max_tokens=most,
            min_tokens=least,
            beams=spec.beams if beams is None else whole_number("beams", beams, most=MOST_BEAMS),
            length_penalty=spec.length_penalty
            if length_penalty is None
            else number("length_penalty", length_penalty, least=-MOST_PENALTY, most=MOST_PENALTY),
            no_repeat=spec.no_repeat
            if no_repeat is None
            else whole_number("no_repeat", no_repeat, least=0, most=spec.max_tokens),
            early_stopping=spec.early_stopping if early_stopping is None else early_stopping,
        )


def _stops(value: Any) -> bool:
    return type(value) is bool or (isinstance(value, str) and value == "never")
