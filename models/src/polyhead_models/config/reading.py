"""A TOML file into a `Config`."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from polyhead.system.schema import parse
from polyhead_models.config.data import SPLITS
from polyhead_models.config.whole import Config
from polyhead_models.errors import ConfigError


def load(path: str | Path) -> Config:
    """Read a configuration; `${NAME}` in a path or name stands for an environment variable.

    Raises:
        ConfigError: when the file is missing, no TOML, or says something it may not.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a configuration in TOML.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from problem
    config = parse(Config, _resolved(data, path), where=str(path), error=ConfigError)
    for name, head in config.heads.items():
        try:
            head.check_taught()
        except ValueError as problem:
            raise ConfigError(f"{path}: heads.{name}: {problem}") from problem
    if all(head.data is None for head in config.heads.values()):
        raise ConfigError(f"{path}: no head has 'data' and 'target', so nothing can be trained.")
    return config


def _resolved(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Paths made absolute and environment variables filled in, before the types are checked."""
    encoder = data.get("encoder")
    if isinstance(encoder, dict) and isinstance(encoder.get("name"), str):
        name = _filled(encoder["name"], f"{path}: encoder: name")
        local = path.parent / name
        folder = any((local / file).is_file() for file in ("config.json", "polyhead.json"))
        encoder["name"] = str(local.resolve()) if folder else name
    heads = data.get("heads")
    for name, head in heads.items() if isinstance(heads, dict) else ():
        teacher = head.get("teacher") if isinstance(head, dict) else None
        if isinstance(teacher, dict) and "checkpoint" in teacher:
            where = f"{path}: heads.{name}.teacher: checkpoint"
            teacher["checkpoint"] = _place(teacher["checkpoint"], where, path)
    sources = data.get("data")
    for name, source in sources.items() if isinstance(sources, dict) else ():
        if isinstance(source, dict):
            where = f"{path}: data.{name}"
            for split in SPLITS:
                if split in source:
                    on_disk = source.get("format") != "hub"
                    source[split] = _place(source[split], f"{where}: {split}", path, on_disk)
            if isinstance(names := source.get("names"), dict):
                for column, file in names.items():
                    names[column] = _place(file, f"{where}: names.{column}", path)
    return data


def _place(value: Any, where: str, path: Path, on_disk: bool = True) -> Any:
    """A file, or each of a list, made absolute; ids of the hub and what is no text stay."""
    if isinstance(value, list):
        return [_place(item, where, path, on_disk) for item in value]
    if not isinstance(value, str):
        return value
    filled = _filled(value, where)
    return str((path.parent / filled).resolve()) if on_disk else filled


def _filled(text: str, where: str) -> str:
    filled = os.path.expandvars(text)
    if missing := re.search(r"\$\{(\w+)\}", filled):
        raise ConfigError(
            f"{where}: the environment variable {missing[1]} is not set."
            f" Set it, as in '{missing[1]}=... polyhead ...'."
        )
    return filled
