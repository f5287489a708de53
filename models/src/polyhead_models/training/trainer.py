"""transformers.Trainer for many heads: check-points, schedule and mixed precision are its."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import TrainerState, TrainingArguments

from polyhead.system import atomic
from polyhead.system.schema import plain
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import TrainingConfig
from polyhead_models.data.batches import TokenBudgetBatches
from polyhead_models.data.examples import Example
from polyhead_models.data.steps import Schedule, schedule
from polyhead_models.evaluation import HeadFigures, answers, figures
from polyhead_models.training import processes
from polyhead_models.training.holding import Untouched, gives_vectors, held, with_vectors
from polyhead_models.training.objective import Objective, freeze, optimizer
from polyhead_models.training.precision import bf16
from polyhead_models.training.rows import Collator, TrainingRow

COMPLETE = "complete"
_ELAPSED = "elapsed"
_VALIDATION = "validation"
_LAST = 1e6  # no mean of metrics is so far below 0

logger = logging.getLogger(__name__)


class Progress(transformers.trainer_callback.ProgressCallback):
    """The trainer's bar without its log lines, which would go to stdout among the results."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the losses are in the history."""


class Resumption(transformers.TrainerCallback):
    """What an interrupted run is taken up with: seconds in its log, and marks of whole states."""

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any
    ) -> None:
        """Go on from the seconds and the best epoch of the runs that this one resumes."""
        before = [entry[_ELAPSED] for entry in state.log_history if _ELAPSED in entry]
        self._start = time.perf_counter() - (before[-1] if before else 0.0)
        best = Path(str(args.output_dir)) / f"checkpoint-{state.best_global_step}"
        if best.is_dir():  # the path that was stored may be that of another working directory
            state.best_model_checkpoint = str(best)

    def _record(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        state.log_history.append({_ELAPSED: time.perf_counter() - self._start})

    # The first two come before a state is saved.
    on_epoch_end = on_evaluate = on_train_end = _record

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Mark the folder that all processes have just written to as whole, and remove older ones.

        It comes back after a kill at any moment: the mark comes when all is on the disk, and goes
        before anything else does. The trainer's own removal knows no marks.
        """
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        processes.wait()
        processes.first(lambda: _keep(folder, best=state.best_model_checkpoint))


class MultiHeadTrainer(transformers.Trainer):
    """Trains a model on rows of any mix of heads; after each epoch it looks at the validation set.

    With validation data the weights of the best epoch are kept: the one with the highest mean of
    the heads' primary metrics, which all grow as the model gets better. Where others are there, it
    is none in which a head that gives vectors is worse than with the untouched encoder.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        rows: Sequence[TrainingRow],
        validation: Sequence[Example],
        folder: Path,
        *,
        untouched: Checkpoint,
    ) -> None:
        """Prepare a run.

        Args:
            checkpoint: the model, trained in place, with its tokenizer and configuration.
            rows: what to learn from; at least one.
            validation: what to watch after each epoch; may be empty.
            folder: where the run keeps its state.
            untouched: what heads that give vectors are held to and compared with: the checkpoint
                itself where it was not trained yet.
        """
        config = checkpoint.description.config
        settings = config.training
        self._checkpoint = checkpoint
        self._examples = [example for example in validation if example.references]
        self._untouched = Untouched()
        lengths = [row.tokens for row in rows]
        planned = schedule(settings, lengths, processes=processes.count())
        self._batches = TokenBudgetBatches(
            lengths,
            [row.source for row in rows],
            batch_tokens=planned.batch_tokens,
            sampling=settings.sampling,
            temperature=settings.temperature,
            seed=settings.seed,
            process=processes.index(),
            processes=processes.count(),
        )
        trained = {name: head for name, head in config.heads.items() if head.data is not None}
        taught = {name: head.teacher for name, head in trained.items() if head.teacher is not None}
        holding = held(config)
        self._collate = Collator(checkpoint.model, list(trained), [*taught, *holding])
        freeze(checkpoint.model, settings.freeze)
        weights = {name: head.loss_weight for name, head in trained.items()}
        # A twin has the targets of its row.
        counts = {n: np.array([len(r.all) * (n in r.targets) for r in rows]) for n in trained}
        usual = {name: self._batches.usual(of_rows) for name, of_rows in counts.items()}
        self._learns = {name: of_rows > 0 for name, of_rows in counts.items()}
        objective = Objective(
            checkpoint.model,
            weights,
            settings.loss_weighting,
            usual=usual,
            teachers=taught,
            held=holding,
        )
        callbacks: list[transformers.TrainerCallback] = [Resumption()]
        if validation and settings.patience:
            callbacks.append(transformers.EarlyStoppingCallback(settings.patience))
        super().__init__(
            model=objective,
            args=_arguments(settings, planned, folder, watch=bool(validation)),
            train_dataset=list(rows),
            eval_dataset=list(validation),
            callbacks=callbacks,
            optimizers=(optimizer(objective, planned, weight_decay=settings.weight_decay), None),
        )
        self.remove_callback(transformers.trainer_callback.ProgressCallback)
        self.add_callback(Progress)
        if gives_vectors(config):
            self._remember(untouched or checkpoint, rows, list(holding))

    def _remember(
        self, untouched: Checkpoint, rows: Sequence[TrainingRow], held: Sequence[str]
    ) -> None:
        """Keep what heads give before the training, of training texts only those that are held."""
        model = untouched.model.to(self.args.device)
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.bf16):
            if held:
                self.train_dataset = with_vectors(model, rows, held, self._collate)
            if processes.index() == 0:
                said = answers(untouched.engine(writing=False), self._examples, label="untouched")
                self._untouched = Untouched.of(model.specs, self._examples, said)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches by a budget of tokens; the sampler gives each process its own."""
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset,  # type: ignore[arg-type]
            batch_sampler=self._batches,
            collate_fn=self._collate,
        )
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, self.args.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Metrics on the validation set, in the precision of the training.

        The first process makes them for all: they decide on the best epoch and on an early stop.
        """
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.bf16):
            entry = processes.first(self._watched)
        self.state.log_history.append(entry)
        metrics = {"eval_rank": rank(entry)}
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _watched(self) -> dict[str, Any]:
        """An epoch's entry in the log."""
        epoch = round(self.state.epoch or 0)
        found, agreement = self.figures(f"validation, epoch {epoch}")
        mean = float(np.mean([f.value for f in found.values()])) if found else 0.0
        before = {n: f" (untouched {f.value:.4f})" for n, f in self._untouched.figures.items()}
        shown = [f"{n} {f.metric} {f.value:.4f}{before.get(n, '')}" for n, f in found.items()]
        shown += [f"{name} agreement {value:.4f}" for name, value in agreement.items()]
        logger.info("epoch %d: %s", epoch, "  ".join(shown))
        lost = self._untouched.lost(found)
        for name in lost:
            figure = f"{found[name].metric} {found[name].value:.4f}"
            had = f"the untouched encoder has {self._untouched.figures[name].value:.4f}"
            logger.warning("epoch %d: %s is worse than untouched: %s, %s", epoch, name, figure, had)
        return {
            "epoch": epoch,
            _VALIDATION: plain(found),
            "mean": mean,
            "agreement": agreement,
            "worse": lost,
        }

    def figures(self, label: str) -> tuple[dict[str, HeadFigures], dict[str, float]]:
        """Validation metrics of the model as it is now; empty without validation data.

        Then the mean cosine of its vectors and the untouched encoder's, of heads that give any.
        """
        said = answers(self._checkpoint.engine(), self._examples, label=label)
        found = figures(self._checkpoint.model.specs, self._examples, said)
        return found, self._untouched.agreement(said)

    def summary(self) -> dict[str, Any]:
        """Metrics and facts of the finished run, as plain data; metrics are computed in fp32.

        `history` has an entry an epoch: its number, the mean training loss and, with validation
        data, the metrics of all heads and their mean; `untouched` are the metrics of vector heads
        before the training, `agreement` the mean cosine with the vectors of then, `worse` by how
        much an epoch's metrics are lower. `seen` has for each head how many of its rows the best
        epoch has seen, each as often as it came, and in how many steps. `seconds` is the wall time
        over all resumed runs.
        """
        history = _history(self.state.log_history)
        watched = [entry for entry in history if _VALIDATION in entry]
        best = max(watched, key=rank, default=None)
        found, agreement = self.figures(_VALIDATION)
        if best and best["worse"]:
            logger.warning(
                "every epoch is worse than untouched for %s; epoch %d, the nearest, is kept. A"
                " larger 'hold' of the head, a smaller learning_rate or more of its rows may help",
                " and ".join(best["worse"]),
                best["epoch"],
            )
        elapsed = [entry[_ELAPSED] for entry in self.state.log_history if _ELAPSED in entry]
        epoch = best["epoch"] if best else round(self.state.epoch or 0)
        seen = {name: self._batches.seen(which, epoch) for name, which in self._learns.items()}
        return {
            "validation": plain(found),
            "agreement": agreement,
            "untouched": plain(self._untouched.figures),
            "best_epoch": epoch,
            "seen": {name: {"rows": rows, "steps": steps} for name, (rows, steps) in seen.items()},
            "history": history,
            "rows": len(self.train_dataset),  # type: ignore[arg-type]
            "steps": self.state.global_step,
            "seconds": round(elapsed[-1], 1) if elapsed else None,
            "processes": processes.count(),
            "precision": "bf16" if self.args.bf16 else "fp32",
        }


def _keep(folder: Path, *, best: str | None) -> None:
    """Mark a state of the run as whole; of the others only the best stays."""
    atomic.sync(folder)
    (folder / COMPLETE).touch()
    for other in folder.parent.glob("checkpoint-*"):
        if other != folder and other.name != Path(best or "").name:
            (other / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(other, ignore_errors=True)


def rank(entry: Mapping[str, Any]) -> float:
    """What is highest in the best epoch: the mean, or below all means how little is lost."""
    worse = entry.get("worse")  # histories of older versions have none
    return -_LAST - max(worse.values()) if worse else float(entry["mean"])


def _history(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry an epoch out of the trainer's log."""
    keys = ("loss", _VALIDATION, "mean", "agreement", "worse")
    epochs: dict[int, dict[str, Any]] = {}
    for entry in log:
        if "loss" in entry or _VALIDATION in entry:
            number = round(entry["epoch"])
            known = {key: entry[key] for key in keys if key in entry}
            epochs.setdefault(number, {"epoch": number}).update(known)
    return list(epochs.values())


def _arguments(
    settings: TrainingConfig, planned: Schedule, folder: Path, *, watch: bool
) -> transformers.TrainingArguments:
    # It would win over `precision`; transformers 4 leaves that of an earlier training there.
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
    return transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=planned.epochs,
        learning_rate=planned.learning_rate,
        warmup_steps=math.ceil(settings.warmup * planned.steps),
        lr_scheduler_type="linear",
        bf16=bf16(settings.precision),
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="epoch",
        eval_strategy="epoch" if watch else "no",
        load_best_model_at_end=watch,
        metric_for_best_model="rank" if watch else None,
        restore_callback_states_from_checkpoint=settings.patience is not None,
        logging_strategy="epoch",
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        label_names=["targets"],
    )
