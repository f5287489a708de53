"""A whole TOML file, with ``[encoder]`` and ``[training]``."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from polyhead.bundle.manifest import SpecialTokens
from polyhead.errors import nearest
from polyhead.system.lines import read_lines
from polyhead.system.schema import parse, plain
from polyhead_models.config import ranges
from polyhead_models.config.data import SPLITS, DataConfig
from polyhead_models.config.heads import HeadConfig
from polyhead_models.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """``[training]``.

    Attributes:
        epochs: passes over the data. For this and the next three None is chosen from the data, as
            `polyhead_models.data.steps` describes; a checkpoint has the choice.
        batch_tokens: tokens in a batch, about; batches hold texts of similar length.
        learning_rate: highest rate; rises over the first steps, then falls to 0.
        head_learning_rate: highest rate of the heads.
        warmup: share of the steps in which the rate rises.
        weight_decay: of AdamW.
        sampling: how often each source is drawn: by its rows, by its rows to the power of
            1 / temperature, or all alike.
        temperature: for ``sampling = "temperature"``.
        freeze: what of the encoder does not learn: ``"nothing"``, ``"encoder"``, or a number: the
            embeddings and that many layers, from the first.
        loss_weighting: ``"fixed"`` takes the heads' `loss_weight`; ``"uncertainty"`` learns a
            factor for each head as well.
        patience: stop after this many epochs without a better mean of the heads' validation
            metrics; None trains all epochs. The best epoch is kept either way.
        precision: ``"auto"`` takes bf16 autocast where this CPU or GPU has the instructions.
        seed: of everything random.
    """

    epochs: int | None = None
    batch_tokens: int | None = None
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    sampling: Literal["proportional", "temperature", "uniform"] = "proportional"
    temperature: float = 2.0
    freeze: Literal["nothing", "encoder"] | int = "nothing"
    loss_weighting: Literal["fixed", "uncertainty"] = "fixed"
    patience: int | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        ranges.check(self, "at least 1", "epochs", "batch_tokens", "patience")
        ranges.check(self, "at least 0", "seed", "weight_decay")
        ranges.check(self, "more than 0", "learning_rate", "head_learning_rate", "temperature")
        ranges.check(self, "0 to below 1", "warmup")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """``[encoder]``.

    Attributes:
        name: a local folder, the name of a model that an installed package ships, or a hub id. A
            checkpoint's folder gives its encoder, whose heads `polyhead heads add` takes along.
        max_tokens: longest input, special tokens included.
        special_tokens: what a special token in a text, such as ``[SEP]``, is: ``"text"``:
            characters like others; ``"parse"``: the token itself, for texts that have some on
            purpose. Checkpoint and bundle keep it.
        trust_remote_code: run the Python code that an encoder outside transformers brings; without
            it such an encoder is refused.
    """

    name: str
    max_tokens: int = 256
    special_tokens: SpecialTokens = "text"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        ranges.check(self, "at least 3", "max_tokens")


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """``[card]``: what the model card says that nothing else knows; training does not read it.

    Attributes:
        license: as the hub spells it, such as ``"apache-2.0"``; None leaves it out.
        language: of the texts, as codes such as ``"en"``.
    """

    license: str | None = None
    language: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole TOML file."""

    encoder: EncoderConfig
    data: Mapping[str, DataConfig] = field(default_factory=dict)
    heads: Mapping[str, HeadConfig]
    training: TrainingConfig = field(default_factory=TrainingConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError("heads: empty, expected at least one [heads.NAME].")
        for name, head in self.heads.items():
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"heads: {name!r}: a name has letters, digits, '_' and '-'.")
            if head.data is not None and head.data not in self.data:
                raise ValueError(
                    f"heads.{name}: data: no source {head.data!r}; there are"
                    f" {', '.join(self.data) or 'none'}." + nearest(head.data, self.data)
                )
            if head.stride is not None and head.stride >= self.encoder.max_tokens:
                raise ValueError(
                    f"heads.{name}: stride: found {head.stride}, expected less than max_tokens ="
                    f" {self.encoder.max_tokens}."
                )

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the training as plain data.

        The paths of data and teachers, which have digests, and the card's do not count.
        """
        settings: dict[str, Any] = plain(self)
        del settings["card"]
        settings["data"] = {name: source.reading for name, source in self.data.items()}
        for head in settings["heads"].values():
            if head["teacher"] is not None:
                del head["teacher"]["checkpoint"]
        return settings

    @property
    def fingerprint(self) -> str:
        """SHA-256 over `settings`."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(path: str | Path) -> Config:
    """Read a configuration; `${NAME}` in a path or name stands for an environment variable.

    Raises:
        ConfigError: when the file is missing, no TOML, or says something it may not.
    """
    path = Path(path)
    try:
        data = tomllib.loads("".join(line for _, line in read_lines(path, ConfigError)))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a configuration in TOML.") from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from problem
    config = _resolved(parse(Config, data, where=str(path), error=ConfigError), path)
    for name, head in config.heads.items():
        if head.untaught is not None:
            raise ConfigError(f"{path}: heads.{name}: {head.untaught}")
    if all(head.data is None for head in config.heads.values()):
        raise ConfigError(f"{path}: no head has 'data' and 'target', so nothing can be trained.")
    return config


def _resolved(config: Config, path: Path) -> Config:
    """Environment variables filled in, and paths made absolute; ids of the hub stay as they are."""

    def place(value: Any, where: str, on_disk: bool = True) -> Any:
        """A file, or each of several."""
        if not isinstance(value, str):
            return tuple(place(item, where, on_disk) for item in value)
        filled = _filled(value, f"{path}: {where}")
        return str((path.parent / filled).resolve()) if on_disk else filled

    name = place(config.encoder.name, "encoder: name", on_disk=False)
    local = path.parent / name
    if any((local / file).is_file() for file in ("config.json", "polyhead.json")):
        name = str(local.resolve())
    heads, data = dict(config.heads), dict(config.data)
    for head, settings in config.heads.items():
        if (teacher := settings.teacher) is not None:
            folder = place(teacher.checkpoint, f"heads.{head}.teacher: checkpoint")
            heads[head] = replace(settings, teacher=replace(teacher, checkpoint=folder))
    for source, read in config.data.items():
        splits = {
            split: place(found, f"data.{source}: {split}", read.format != "hub")
            for split in SPLITS
            if (found := read.path(split)) is not None
        }
        names = {c: place(file, f"data.{source}: names.{c}") for c, file in read.names.items()}
        data[source] = replace(read, names=names, **splits)
    return replace(config, encoder=replace(config.encoder, name=name), heads=heads, data=data)


def _filled(text: str, where: str) -> str:
    filled = os.path.expandvars(text)
    if missing := re.search(r"\$\{(\w+)\}", filled):
        raise ConfigError(
            f"{where}: the environment variable {missing[1]} is not set."
            f" Set it, as in '{missing[1]}=... polyhead ...'."
        )
    return filled
