"""Training: `train` makes a checkpoint of a configuration."""

from __future__ import annotations

from polyhead_models.training.run import Trained, train
from polyhead_models.training.state import resumable

__all__ = ["Trained", "resumable", "train"]
