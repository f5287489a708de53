"""Checks of numbers that a caller passes in."""

from __future__ import annotations

from polyhead.errors import InvalidSetting


def whole_number(name: str, value: object, *, least: int = 1) -> int:
    """`value`, when it is a whole number of at least `least`.

    Raises:
        InvalidSetting: otherwise; names the setting.
    """
    if type(value) is not int or value < least:
        raise InvalidSetting(f"{name}={value!r}: expected a whole number of at least {least}.")
    return value


def number(name: str, value: object, *, least: float = 0) -> float:
    """`value`, when it is a finite number of at least `least`.

    Raises:
        InvalidSetting: otherwise; names the setting.
    """
    if type(value) not in (int, float) or not least <= value < float("inf"):  # type: ignore[operator]
        raise InvalidSetting(f"{name}={value!r}: expected a number of at least {least:g}.")
    return float(value)  # type: ignore[arg-type]
