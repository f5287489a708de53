"""transformers.Trainer for many heads: check-points, schedule and mixed precision are its."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accelerate.data_loader import prepare_data_loader
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from polyhead.strict import plain
from polyhead_models import processes
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import TrainingConfig
from polyhead_models.data.batches import TokenBudgetBatches
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import HeadFigures, evaluate
from polyhead_models.heads import HeadNetwork
from polyhead_models.model import MultiHeadModel
from polyhead_models.objective import Objective
from polyhead_models.optimisation import freeze, optimizer

_COMPLETE = "complete"
_VALIDATION = "validation"
_ELAPSED = "elapsed"


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One training text.

    Attributes:
        ids: token ids, int64 `(tokens,)`.
        targets: by head, as its `target` makes them; heads without a target are absent.
        source: name of the source.
        types: token type ids, int64 `(tokens,)`; None for all 0.
        teachers: by head, the logits of its teacher; heads without one are absent.
        twin: a second text that is learnt from together with this one, and with its targets.
    """

    ids: NDArray[np.int64]
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    source: str = ""
    types: NDArray[np.int64] | None = None
    teachers: Mapping[str, Tensor] = field(default_factory=dict)
    twin: TrainingRow | None = None

    @property
    def all(self) -> tuple[TrainingRow, ...]:
        """The texts that the encoder reads: this one, then its twin."""
        return (self,) if self.twin is None else (self, self.twin)

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(len(row.ids) for row in self.all)


def last_complete(folder: Path) -> str | None:
    """The newest state in `folder` that was written to its end; None when there is none."""
    done = [path.parent for path in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    newest = max(done, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


class MultiHeadTrainer(transformers.Trainer):
    """Trains a model on rows of any mix of heads; after each epoch it looks at the validation set.

    With validation data the weights of the best epoch are kept: the one with the highest mean of
    the heads' primary figures, which all grow as the model gets better.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        rows: Sequence[TrainingRow],
        validation: Sequence[Example],
        folder: Path,
        note: Callable[[str], None],
    ) -> None:
        """Prepare a run.

        Args:
            checkpoint: the model, trained in place, with its tokenizer and configuration.
            rows: what to learn from; at least one.
            validation: what to watch after each epoch; may be empty.
            folder: where the run keeps its state.
            note: called with the validation figures of each epoch.
        """
        config = checkpoint.description.config
        settings = config.training
        self._batches = TokenBudgetBatches(
            [row.tokens for row in rows],
            [row.source for row in rows],
            batch_tokens=settings.batch_tokens,
            sampling=settings.sampling,
            temperature=settings.temperature,
            seed=settings.seed,
            process=processes.index(),
            processes=processes.count(),
        )
        trained = {name: head for name, head in config.heads.items() if head.data is not None}
        taught = [name for name, head in trained.items() if head.teacher is not None]
        self._collate = _Collator(checkpoint.model, list(trained), taught)
        self._checkpoint = checkpoint
        self._note = note
        freeze(checkpoint.model, settings.freeze)
        objective = Objective(
            checkpoint.model,
            {name: head.loss_weight for name, head in trained.items()},
            settings.loss_weighting,
            {name: head.teacher for name, head in trained.items() if head.teacher is not None},
        )
        stop = [transformers.EarlyStoppingCallback(settings.patience)] if settings.patience else []
        super().__init__(
            model=objective,
            args=_arguments(
                settings, folder, len(self._batches) * settings.epochs, watch=bool(validation)
            ),
            train_dataset=list(rows),
            eval_dataset=list(validation),
            callbacks=[_Marked(), _Clock(), *(stop if validation else [])],
            optimizers=(optimizer(objective, settings), None),
        )
        self.remove_callback(transformers.trainer_callback.ProgressCallback)
        self.add_callback(_Progress)

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
        """Figures on the validation set, in the precision of the training.

        The first process makes them for all: they decide on the best epoch and on an early stop.
        """
        epoch = round(self.state.epoch or 0)
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.bf16):
            found = processes.first(lambda: self.figures(f"validation, epoch {epoch}"))
        mean = float(np.mean([f.value for f in found.values()])) if found else 0.0
        self.state.log_history.append({"epoch": epoch, _VALIDATION: plain(found), "mean": mean})
        figures = "  ".join(f"{name} {f.metric} {f.value:.4f}" for name, f in found.items())
        self._note(f"epoch {epoch}: {figures}")
        metrics = {"eval_mean": mean}
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def figures(self, label: str) -> dict[str, HeadFigures]:
        """Validation figures of the model as it is now; empty without validation data."""
        examples: list[Any] = list(self.eval_dataset)  # type: ignore[arg-type]
        engine = self._checkpoint.engine()  # with the specs of this moment
        return evaluate(engine, examples, label=label) if examples else {}

    def summary(self) -> dict[str, Any]:
        """Figures and facts of the finished run, as plain data; figures are made in fp32.

        `history` has an entry an epoch: its number, the mean training loss and, with validation
        data, the figures of all heads and their mean. `seconds` are of all sittings together.
        """
        history = _history(self.state.log_history)
        watched = [entry for entry in history if _VALIDATION in entry]
        best = max(watched, key=lambda entry: entry["mean"], default=None)
        elapsed = [entry[_ELAPSED] for entry in self.state.log_history if _ELAPSED in entry]
        return {
            "validation": plain(self.figures(_VALIDATION)),
            "best_epoch": best["epoch"] if best else round(self.state.epoch or 0),
            "history": history,
            "rows": len(self.train_dataset),  # type: ignore[arg-type]
            "steps": self.state.global_step,
            "seconds": round(elapsed[-1], 1) if elapsed else None,
            "processes": processes.count(),
            "precision": "bf16" if self.args.bf16 else "fp32",
        }


def _history(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry an epoch out of the trainer's log."""
    epochs: dict[int, dict[str, Any]] = {}
    for entry in log:
        if "loss" in entry or _VALIDATION in entry:
            number = round(entry["epoch"])
            known = {key: entry[key] for key in ("loss", _VALIDATION, "mean") if key in entry}
            epochs.setdefault(number, {"epoch": number}).update(known)
    return list(epochs.values())


class _Collator:
    """Rows into padded tensors."""

    def __init__(
        self, model: MultiHeadModel, trained: Sequence[str], taught: Sequence[str]
    ) -> None:
        self._taught = taught
        self._networks = {name: model.networks[name] for name in trained}
        self._typed = "token_type_ids" in model.inputs
        self._padding = getattr(model.encoder.config, "pad_token_id", None) or 0

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Any]:
        rows = [text for row in rows for text in row.all]
        tokens = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), tokens), self._padding, dtype=torch.int64)
        mask = torch.zeros((len(rows), tokens), dtype=torch.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)] = torch.from_numpy(row.ids)
            mask[i, : len(row.ids)] = 1
        targets = {
            name: network.collate([row.targets.get(name) for row in rows], tokens)
            for name, network in self._networks.items()
        }
        batch = {"input_ids": ids, "attention_mask": mask, "targets": targets}
        if self._taught:
            batch["teachers"] = {
                name: _padded(
                    [row.teachers.get(name) for row in rows], self._networks[name], tokens
                )
                for name in self._taught
            }
        if self._typed:
            types = batch["token_type_ids"] = torch.zeros_like(ids)
            for i, row in enumerate(rows):
                if row.types is not None:
                    types[i, : len(row.ids)] = torch.from_numpy(row.types)
        return batch


def _padded(logits: Sequence[Tensor | None], network: HeadNetwork, tokens: int) -> Tensor:
    """Logits of teachers into one tensor; NaN where there are none."""
    shape = (network.count,) if network.spec.pooling else (tokens, network.count)
    batch = torch.full((len(logits), *shape), float("nan"))
    for row, found in enumerate(logits):
        if found is not None:
            batch[row, : len(found)] = found
    return batch


class _Progress(transformers.trainer_callback.ProgressCallback):
    """The trainer's bar without its log lines, which would go to stdout among the results."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the losses are in the history."""


class _Clock(transformers.TrainerCallback):
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
        """Go on from the seconds of the sittings before."""
        before = [entry[_ELAPSED] for entry in state.log_history if _ELAPSED in entry]
        self._start = time.perf_counter() - (before[-1] if before else 0.0)

    def _tell(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **kwargs: Any,
    ) -> None:
        state.log_history.append({_ELAPSED: time.perf_counter() - self._start})

    on_epoch_end = on_evaluate = on_train_end = _tell  # the first two come before a state is saved


class _Marked(transformers.TrainerCallback):
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
        processes.first((folder / _COMPLETE).touch)


def _arguments(
    settings: TrainingConfig, folder: Path, steps: int, *, watch: bool
) -> transformers.TrainingArguments:
    return transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_steps=math.ceil(settings.warmup * steps),
        lr_scheduler_type="linear",
        bf16=_bf16(settings.precision),
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="epoch",
        eval_strategy="epoch" if watch else "no",
        load_best_model_at_end=watch,
        metric_for_best_model="mean" if watch else None,
        restore_callback_states_from_checkpoint=settings.patience is not None,
        save_total_limit=2,
        logging_strategy="epoch",
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        label_names=["targets"],
    )


def _bf16(precision: str) -> bool:
    """Whether to train in bf16 autocast; `auto` asks the CPU or GPU for the instructions."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, flag, lambda: False)() for flag in flags)
