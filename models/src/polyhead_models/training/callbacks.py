"""What is added to `transformers.Trainer`: a bar, a clock, marks of finished states."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import transformers

from polyhead_models.training import processes

COMPLETE = "complete"
ELAPSED = "elapsed"


class Progress(transformers.trainer_callback.ProgressCallback):
    """The trainer's bar without its log lines, which would go to stdout among the results."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the losses are in the history."""


class Clock(transformers.TrainerCallback):
    """Keeps the seconds in the run's log, which an interrupted run takes up again."""

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_begin(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Go on from the seconds of the runs that this one resumes."""
        before = [entry[ELAPSED] for entry in state.log_history if ELAPSED in entry]
        self._start = time.perf_counter() - (before[-1] if before else 0.0)

    def _record(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        state.log_history.append({ELAPSED: time.perf_counter() - self._start})

    on_epoch_end = on_evaluate = on_train_end = (
        _record  # the first two come before a state is saved
    )


class Marked(transformers.TrainerCallback):
    """Marks a state as written to its end: a killed run leaves none half-written."""

    def on_save(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Leave the mark in the folder that all processes have just written to."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        processes.wait()
        processes.first((folder / COMPLETE).touch)
