"""The training configuration: TOML into frozen dataclasses, a file for each table."""

from __future__ import annotations

from polyhead_models.config.data import SPLITS, DataConfig
from polyhead_models.config.heads import DecoderConfig, HeadConfig, TeacherConfig
from polyhead_models.config.whole import CardConfig, Config, EncoderConfig, TrainingConfig, load

__all__ = [
    "SPLITS",
    "CardConfig",
    "Config",
    "DataConfig",
    "DecoderConfig",
    "EncoderConfig",
    "HeadConfig",
    "TeacherConfig",
    "TrainingConfig",
    "load",
]
