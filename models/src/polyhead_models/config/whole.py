"""A whole TOML file, with ``[encoder]``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from polyhead.errors import nearest
from polyhead.system.schema import plain
from polyhead_models.config.data import DataConfig
from polyhead_models.config.heads import HeadConfig
from polyhead_models.config.training import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """``[encoder]``.

    Attributes:
        name: a local folder, the name of a model that an installed package ships, or a hub id. A
            checkpoint's folder gives its encoder, whose heads `polyhead heads add` takes along.
        max_tokens: longest input, special tokens included.
        trust_remote_code: run the Python code that an encoder outside transformers brings; without
            it such an encoder is refused.
    """

    name: str
    max_tokens: int = 256
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 3:
            raise ValueError(f"max_tokens: found {self.max_tokens}, expected at least 3.")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole TOML file."""

    encoder: EncoderConfig
    data: Mapping[str, DataConfig] = field(default_factory=dict)
    heads: Mapping[str, HeadConfig]
    training: TrainingConfig = field(default_factory=TrainingConfig)

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
    def fingerprint(self) -> str:
        """SHA-256 over all settings but the paths of data and teachers, which have digests."""
        settings = plain(self)
        settings["data"] = {name: source.reading for name, source in self.data.items()}
        for head in settings["heads"].values():
            if head["teacher"] is not None:
                del head["teacher"]["checkpoint"]
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
