"""Ranges of the numbers in a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

_HOLDS: Mapping[str, Callable[[float], bool]] = {
    "at least 0": lambda number: number >= 0,
    "at least 1": lambda number: number >= 1,
    "at least 3": lambda number: number >= 3,
    "more than 0": lambda number: number > 0,
    "0 to below 1": lambda number: 0 <= number < 1,
    "0 to 1": lambda number: 0 <= number <= 1,
    "above 0 to 1": lambda number: 0 < number <= 1,
}


def check(table: object, expected: str, *keys: str) -> None:
    """Refuse attributes of `table` that are out of the range called `expected`; None is in it.

    Raises:
        ValueError: names the key and what was found.
    """
    for key in keys:
        value = getattr(table, key)
        if value is not None and not _HOLDS[expected](value):
            raise ValueError(f"{key}: found {value}, expected {expected}.")
