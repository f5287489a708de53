"""Plain data (from JSON or TOML) into frozen dataclasses, strictly.

One mechanism for the manifest, the golden file, checkpoints and the training configuration: an
unknown key, a missing key or a value of another type is an error that names its place.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import sys
import types
import typing
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from polyhead.errors import InvalidSetting, PolyheadError, nearest
from polyhead.system.lines import read_lines

T = TypeVar("T")

OPTIONAL: Mapping[str, Any] = types.MappingProxyType({"optional": True})
"""Metadata of a dataclass's field that `plain` leaves out where it has its default value."""

# In one JSON file. An empty list is 3 bytes there and 64 in memory. The largest known: about
# 580,000, the merges of mmBERT's tokenizer.
_MOST_TABLES = 2**20
_LARGEST = sys.float_info.max  # whole numbers may be larger


def parse(cls: type[T], data: object, *, where: str, error: type[PolyheadError]) -> T:
    """Build the dataclass `cls` from plain `data`.

    Args:
        cls: a dataclass; its annotations say what is allowed: str, int, float, bool, None, Any,
            Literal, unions, ``tuple[X, ...]`` (a fixed length is for the class to check),
            ``Mapping[str, X]`` and other dataclasses.
        data: what `json` or `tomllib` returned; a list becomes a tuple.
        where: the place to name in messages, for example ``"manifest.json"``.
        error: the class to raise.

    Raises:
        PolyheadError: as `error`, on an unknown key (naming the nearest known one), a missing key,
            a value of another type, or a value that the class refuses with ValueError.
    """
    if not isinstance(data, Mapping):
        raise error(f"{where}: found {_show(data)}, expected a table of keys and values.")
    hints = _hints(cls)  # type: ignore[arg-type]
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise error(
                f"{where}: unknown key {_show(key)}; allowed: {', '.join(fields)}."
                + nearest(str(key), fields)
            )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], f"{where}: {name}", error)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(f"{where}: the key {name!r} is missing.")
    try:
        return cls(**values)
    except ValueError as problem:
        raise error(f"{where}: {problem}") from problem


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def plain(value: object) -> Any:
    """The inverse of `parse`: dataclasses, tuples and mappings into what `json` writes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not (f.metadata.get("optional") and _is_default(f, getattr(value, f.name)))
        }
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return bool(value == field.default)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is beyond the range of a float")
    return number


def read_json(path: Path, *, limit_bytes: int, error: type[PolyheadError]) -> Any:
    """Read one JSON file: UTF-8, no duplicate keys, no NaN or Infinity, at most `limit_bytes`.

    Raises:
        PolyheadError: as `error`, when the file is larger, not JSON, or nested too deeply.
    """
    size = path.stat().st_size
    if size > limit_bytes:
        raise error(f"{path}: {size:,} bytes, more than the {limit_bytes:,} allowed.")
    text = "".join(line for _, line in read_lines(path, error))
    return parse_json(text, str(path), error)


def parse_json(
    text: str,
    where: str,
    error: type[PolyheadError],
    parse_float: Callable[[str], float] = _finite,
) -> Any:
    """JSON: no duplicate keys, no NaN or Infinity.

    Args:
        text: of a file.
        where: what to call it in messages.
        error: the class to raise.
        parse_float: makes numbers; Python's own is faster, and takes those beyond a float's range.

    Raises:
        PolyheadError: as `error`, when it is not JSON, or nested too deeply.
    """
    count = text.count("[") + text.count("{")
    if count > _MOST_TABLES:
        raise error(f"{where}: {count:,} lists and tables, more than {_MOST_TABLES:,} allowed.")
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=parse_float,
        )
    except (ValueError, RecursionError) as problem:
        raise error(f"{where}: not valid JSON: {problem}") from problem


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice!r} is duplicated")
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _value(hint: Any, value: Any, where: str, error: type[PolyheadError]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return value
        allowed = ", ".join(repr(a) for a in arguments)
        hint_text = nearest(str(value), [str(a) for a in arguments])
        raise error(f"{where}: found {_show(value)}, allowed: {allowed}.{hint_text}")
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, where, error)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise error(f"{where}: found {_show(value)}, expected a list.")
        return tuple(_value(arguments[0], v, f"{where}[{i}]", error) for i, v in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise error(f"{where}: found {_show(value)}, expected a table.")
        return {str(k): _value(arguments[1], v, f"{where}.{k}", error) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return parse(typing.cast(type[Any], hint), value, where=where, error=error)
    return _scalar(hint, value, where, error)


def _one_of(arguments: tuple[Any, ...], value: Any, where: str, error: type[PolyheadError]) -> Any:
    problems: list[PolyheadError] = []
    tables = [c for c in arguments if dataclasses.is_dataclass(c)]
    if isinstance(value, Mapping) and len(tables) == 1:  # name what is wrong inside
        return _value(tables[0], value, where, error)
    for candidate in arguments:
        if candidate is type(None):
            if value is None:
                return None
            continue
        try:
            return _value(candidate, value, where, error)
        except PolyheadError as problem:
            # Without its frames: they hold this list, and with it the caller's bundle and sessions.
            problems.append(problem.with_traceback(None))
    if len(problems) == 1:
        raise problems[0]
    expected = " or ".join(_expected(c) for c in arguments if c is not type(None))
    raise error(f"{where}: found {_show(value)}, expected {expected}.")


def _expected(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(hint))
    if dataclasses.is_dataclass(hint):
        return "a table of keys and values"
    return _NAMES.get(hint, str(hint))


def _scalar(hint: Any, value: Any, where: str, error: type[PolyheadError]) -> Any:
    if hint is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if type(value) is hint and hint is not float:
        return value
    raise error(f"{where}: found {_show(value)}, expected {_expected(hint)}.")


_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
}


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def whole_number(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """`value`, when it is a whole number of at least `least`, and of at most `most` if given.

    Raises:
        InvalidSetting: otherwise; names the setting.
    """
    if type(value) is not int or value < least:
        raise InvalidSetting(f"{name}={value!r}: expected a whole number of at least {least}.")
    if most is not None and value > most:
        raise InvalidSetting(f"{name}={value!r}: expected at most {most:,}.")
    return value


def number(name: str, value: object, *, least: float = 0, most: float = _LARGEST) -> float:
    """`value`, when it is a finite number of at least `least` and at most `most`.

    Raises:
        InvalidSetting: otherwise; names the setting.
    """
    if type(value) in (int, float) and least <= value <= most:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    allowed = f"of at least {least:g}" if most == _LARGEST else f"from {least:g} to {most:g}"
    raise InvalidSetting(f"{name}={value!r}: expected a number {allowed}.")
