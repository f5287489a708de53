"""What the teacher makes of each row: computed once and kept on disk, float16."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from polyhead_models.model import MultiHeadModel
from polyhead_models.shrinking.keeping import states_and_logits
from polyhead_models.training.precision import autocast
from polyhead_models.training.rows import Collator, TrainingRow

Taught = tuple[list[Tensor], dict[str, Tensor]]
"""Hidden states, each `(rows, tokens, width)`, and logits by head, as the teacher has them."""

_BATCH = 4096


class LiveTeacher:
    """A teacher that is asked again for each batch, for rows that are read once or twice."""

    def __init__(self, model: MultiHeadModel, layers: Sequence[int]) -> None:
        """Of hidden states only.

        Args:
            model: in evaluation mode.
            layers: which of its hidden states are wanted, 0 for the embeddings.
        """
        self._model, self._layers = model, layers

    def of(self, batch: Mapping[str, Any], rows: Sequence[int]) -> Taught:
        """What it makes of a batch."""
        with torch.no_grad():
            states, _ = states_and_logits(self._model, batch)
        return [states[i].float() for i in self._layers], {}


class KeptTeacher:
    """A teacher whose states and logits are in files; the system keeps in memory what fits.

    A token takes 2 bytes for each number of its states, 0.8 kB for MiniLM.
    """

    def __init__(self, folder: Path, rows: Sequence[TrainingRow], model: MultiHeadModel) -> None:
        """Open what `keep` wrote."""
        self._ends = np.cumsum([0, *(len(row.ids) for row in rows)])
        self._states = np.load(folder / "states.npy", mmap_mode="r")
        self._specs = model.specs
        self._logits = {
            name: np.load(folder / f"logits-{i}.npy", mmap_mode="r")
            for i, name in enumerate(self._specs)
        }

    def of(self, batch: Mapping[str, Any], rows: Sequence[int]) -> Taught:
        """What it made of these rows; NaN in logits where a head says nothing of a row or token."""
        tokens = batch["input_ids"].shape[1]
        states = np.zeros((len(rows), tokens, *self._states.shape[1:]), np.float16)
        logits = {
            name: np.full(
                (len(rows), *(() if self._specs[name].pooling else (tokens,)), kept.shape[-1]),
                np.nan,
                np.float16,
            )
            for name, kept in self._logits.items()
        }
        for place, row in enumerate(rows):
            start, end = self._ends[row], self._ends[row + 1]
            states[place, : end - start] = self._states[start:end]
            for name, kept in self._logits.items():
                if self._specs[name].pooling:
                    logits[name][place] = kept[row]
                else:
                    logits[name][place, : end - start] = kept[start:end]
        found = torch.from_numpy(states).float()
        made = {name: torch.from_numpy(own).float() for name, own in logits.items()}
        return [found[:, :, i] for i in range(found.shape[2])], made


def keep(
    folder: Path,
    rows: Sequence[TrainingRow],
    model: MultiHeadModel,
    layers: Sequence[int],
    collate: Collator,
    *,
    mixed: bool,
    reads: Callable[[str, TrainingRow], bool],
) -> KeptTeacher:
    """Ask a teacher about all rows, unless the folder has its answers already.

    Args:
        folder: made here; whole when it has ``complete``.
        rows: texts.
        model: the teacher, in evaluation mode.
        layers: which of its hidden states are wanted, 0 for the embeddings.
        collate: rows into a batch.
        mixed: whether products are in bf16.
        reads: whether a head, by name, reads a row; what others make of it is not kept.
    """
    done = folder / "complete"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with autocast(mixed):
            _ask(folder, rows, model, layers, collate, reads)
        done.touch()
    return KeptTeacher(folder, rows, model)


def _ask(
    folder: Path,
    rows: Sequence[TrainingRow],
    model: MultiHeadModel,
    layers: Sequence[int],
    collate: Collator,
    reads: Callable[[str, TrainingRow], bool],
) -> None:
    lengths = np.array([len(row.ids) for row in rows])
    ends = np.cumsum([0, *lengths])
    width = int(model.encoder.config.hidden_size)
    states = _file(folder / "states.npy", (ends[-1], len(layers), width))
    logits = {
        name: _file(
            folder / f"logits-{i}.npy",
            (len(rows) if network.spec.pooling else ends[-1], network.count),
        )
        for i, (name, network) in enumerate(model.networks.items())
    }
    with tqdm(total=len(rows), desc="teacher", unit="text", leave=False) as bar:
        for chosen in by_length(lengths, _BATCH):
            batch = collate([rows[i] for i in chosen])
            with torch.inference_mode():
                found, made = states_and_logits(model, batch)
            picked = torch.stack([found[i].float() for i in layers], dim=2).half().numpy()
            answers = {name: own.float().half().numpy() for name, own in made.items()}
            for place, row in enumerate(chosen):
                start, end = ends[row], ends[row + 1]
                states[start:end] = picked[place, : end - start]
                for name, own in answers.items():
                    known = reads(name, rows[row])
                    if model.specs[name].pooling:
                        logits[name][row] = own[place] if known else np.nan
                    else:
                        logits[name][start:end] = own[place, : end - start] if known else np.nan
            bar.update(len(chosen))
    for file in (states, *logits.values()):
        file.flush()


def _file(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.float16]]:
    return np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float16, shape=tuple(map(int, shape))
    )


def by_length(lengths: NDArray[np.int64], tokens: int) -> list[list[int]]:
    """Rows of similar length together, about `tokens` in each part."""
    order = np.argsort(lengths, kind="stable")
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths[order]) // tokens)) + 1
    return [part.tolist() for part in np.split(order, cuts) if len(part)]
