"""A student learns to do as its teacher does: hidden states of every token, then answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from polyhead.system import atomic
from polyhead_models.data.batches import TokenBudgetBatches
from polyhead_models.model import MultiHeadModel
from polyhead_models.shrinking.keeping import states_and_logits
from polyhead_models.shrinking.outputs import Taught
from polyhead_models.shrinking.rounding import rounded
from polyhead_models.training.precision import autocast
from polyhead_models.training.rows import Collator, TrainingRow

logger = logging.getLogger(__name__)

_TEMPERATURE = 2.0
_ANSWERS, _LABELS = 0.7, 0.3  # of a head's loss
_INNER, _INNER_UNTIL = 0.3, 0.6  # weight of the states before the last, and share of the steps
_ROUNDED_FROM = 0.7  # share of the steps
_DECAY = 0.99  # of the running mean of the weights
_WEIGHT_DECAY = 0.01
_SAVED = 60.0  # seconds between two states on disk


class TeacherOutputs(Protocol):
    """Says what a student should make of a batch."""

    def of(self, batch: Mapping[str, Any], rows: Sequence[int]) -> Taught:
        """What it makes of the rows of these numbers, which the batch holds."""


@dataclass(frozen=True)
class Phase:
    """How long a student learns, and how fast.

    Attributes:
        name: for people and files.
        steps: in all.
        batch_tokens: tokens in a batch, about.
        learning_rate: highest; rises over the first twentieth, then falls to 0.
        seed: of the batches.
        evenly: whether each source of rows, labelled or not, gives as many.
        rounded: whether the last steps are as int8 will be.
    """

    name: str
    steps: int
    batch_tokens: int
    learning_rate: float
    seed: int
    evenly: bool = False
    rounded: bool = False


class Imitation(nn.Module):
    """A student and how far it is from its teacher, as one module.

    The mean squared difference of hidden states, both layer-normed, of every token (TinyBERT, Jiao
    et al. 2020, section 3, without attention maps); of each head 0.7 times the divergence of its
    answers at temperature 2 and 0.3 times its own loss where a row has a label.
    """

    def __init__(self, student: MultiHeadModel) -> None:
        """Take a student, which is trained in place; its embeddings stay the teacher's."""
        super().__init__()
        self.student = student
        for parameter in embeddings(student).parameters():
            parameter.requires_grad = False

    def forward(self, batch: Mapping[str, Any], taught: Taught, *, inner: float) -> Tensor:
        """The loss of a batch.

        Args:
            batch: as `Collator` makes it.
            taught: of the student's last layers, in their order, and of its heads.
            inner: weight of the hidden states before the last.
        """
        wanted, answers = taught
        states, logits = states_and_logits(self.student, batch)
        real = batch["attention_mask"].bool()
        own = states[-len(wanted) :]
        far = [_distance(a[real], b[real]) for a, b in zip(own, wanted, strict=True)]
        loss = far[-1] + sum(inner * each for each in far[:-1])
        for name, answer in answers.items():
            network = self.student.networks[name]
            taught_loss = network.distil(logits[name], answer, _TEMPERATURE)
            labelled = taught_loss
            if name in batch["targets"]:
                labelled = network.loss_scale * network.loss(logits[name], batch["targets"][name])
            loss = loss + _ANSWERS * taught_loss + _LABELS * labelled
        return loss


def _distance(own: Tensor, wanted: Tensor) -> Tensor:
    width = (own.shape[-1],)
    a, b = (nn.functional.layer_norm(x.float(), width) for x in (own, wanted))
    return nn.functional.mse_loss(a, b)


def embeddings(model: MultiHeadModel) -> nn.Module:
    """The module of the encoder that makes vectors of ids and positions."""
    table = model.encoder.get_input_embeddings()
    for module in model.encoder.children():
        if any(inside is table for inside in module.modules()):
            return module
    raise AssertionError("an encoder holds its table of embeddings")


def learn(
    phase: Phase,
    student: MultiHeadModel,
    rows: Sequence[TrainingRow],
    teacher: TeacherOutputs,
    collate: Collator,
    folder: Path | None,
    *,
    mixed: bool,
    watch: Callable[[], str] | None = None,
) -> float:
    """Train a student in place; it has the running mean of its weights in the end.

    A run that was stopped goes on at the last state in `folder`, to the very same weights.

    Args:
        phase: how.
        student: in evaluation mode, so without dropout, which would blur what the teacher does.
        rows: what it reads.
        teacher: what it should make of them.
        collate: rows into a batch.
        folder: for the state; None keeps none.
        mixed: whether products are in bf16.
        watch: called ten times for a line on the student's progress.

    Returns:
        Seconds that it took, over all resumed runs.
    """
    imitation = Imitation(student)
    learning = {n: p for n, p in student.named_parameters() if p.requires_grad}
    average = get_ema_multi_avg_fn(_DECAY)  # type: ignore[no-untyped-call]
    mean = AveragedModel(student, multi_avg_fn=average)
    optimizer = _optimizer(learning.values(), phase.learning_rate)
    file = None if folder is None else folder / f"{phase.name}.safetensors"
    state = _State(file, student, mean, learning, optimizer)
    step, before = state.load()
    batches = TokenBudgetBatches(
        [len(row.ids) for row in rows],
        [row.source for row in rows],
        batch_tokens=phase.batch_tokens,
        sampling="uniform" if phase.evenly else "proportional",
        seed=phase.seed,
    )
    start = saved = time.perf_counter()
    bar = tqdm(total=phase.steps, initial=step, desc=phase.name, unit="step", leave=False)
    with bar:
        while step < phase.steps:
            batches.set_epoch(step // len(batches))
            done = step % len(batches)
            for chosen in list(batches)[done : done + phase.steps - step]:
                batch = collate([rows[i] for i in chosen])
                share = step / phase.steps
                rounds = phase.rounded and share >= _ROUNDED_FROM
                with autocast(mixed):
                    taught = teacher.of(batch, chosen)
                    with rounded(student.encoder) if rounds else nullcontext():
                        loss = imitation(batch, taught, inner=_INNER * (share < _INNER_UNTIL))
                for group in optimizer.param_groups:
                    group["lr"] = phase.learning_rate * min(share * 20, (1 - share) / 0.95)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(learning.values(), 1.0)
                optimizer.step()
                mean.update_parameters(student)
                step += 1
                bar.update()
                now = time.perf_counter()
                tenth = step % max(1, phase.steps // 10) == 0
                if tenth or now - saved > _SAVED or step == phase.steps:
                    state.save(step, before + now - start)
                    saved = time.perf_counter()
                if watch and tenth:
                    told = (phase.name, step, phase.steps, float(loss.detach()), watch())
                    logger.info("%s, step %d of %d: loss %.3f  %s", *told)
    student.load_state_dict(mean.module.state_dict())
    return before + time.perf_counter() - start


def _optimizer(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """AdamW without decay for biases and norms; fused, which takes a quarter of the time."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in parameters:
        groups[parameter.ndim > 1].append(parameter)
    decayed = [
        {"params": own, "weight_decay": _WEIGHT_DECAY * matrix} for matrix, own in groups.items()
    ]
    return torch.optim.AdamW(decayed, lr=rate, fused=True)


class _State:
    """What a run needs to go on, in one file."""

    def __init__(
        self,
        file: Path | None,
        student: MultiHeadModel,
        mean: nn.Module,
        learning: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._file, self._models = file, {"student": student, "mean": mean}
        self._learning, self._optimizer = learning, optimizer

    def save(self, step: int, seconds: float) -> None:
        """Write it in one step."""
        if self._file is None:
            return
        tensors = {
            f"{which}.{name}": value
            for which, model in self._models.items()
            for name, value in model.state_dict().items()
        }
        for name, parameter in self._learning.items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"{key}.{name}"] = value
        told = {"step": str(step), "seconds": f"{seconds:.1f}"}
        atomic.write(self._file, safetensors.torch.save(tensors, told))

    def load(self) -> tuple[int, float]:
        """Take it up; the steps that were done and their seconds, 0 where there is no state."""
        if self._file is None or not self._file.is_file():
            return 0, 0.0
        with safe_open(str(self._file), "pt") as opened:
            told = opened.metadata()
        tensors = safetensors.torch.load_file(str(self._file))
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, _, inside = name.partition(".")
            parts.setdefault(part, {})[inside] = value
        for which, model in self._models.items():
            model.load_state_dict(parts.pop(which))
        for name, parameter in self._learning.items():
            own = {key: found[name] for key, found in parts.items() if name in found}
            if own:  # heads do not learn in the general phase
                self._optimizer.state[parameter] = own
        return int(told["step"]), float(told["seconds"])
