"""Labels as they stand in the data, for every kind of head that has some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyhead.errors import nearest


def label(raw: Any) -> str:
    """A label: a text, a whole number or true/false.

    Raises:
        ValueError: when it is something else, or empty.
    """
    if isinstance(raw, str | int) and str(raw):
        return str(raw)
    raise ValueError(f"found {raw!r}, expected a label (a text or a whole number)")


def check_known(found: str, known: Sequence[str]) -> None:
    """Refuse a label that was not seen in training.

    Raises:
        ValueError: names the label and the nearest known one.
    """
    if found not in known:
        raise ValueError(
            f"unknown label {found!r}; training has {', '.join(known)}." + nearest(found, known)
        )
