"""Batches by a budget of tokens, with texts of similar length together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polyhead_models.errors import DataError


class TokenBudgetBatches:
    """A batch sampler for `torch.utils.data.DataLoader`.

    Every epoch draws rows, sorts them by length with some noise, cuts the line into a fixed number
    of batches of about `batch_tokens` tokens, and shuffles the batches. Deterministic in seed and
    epoch, so that a resumed run sees the same batches.

    Of several processes each takes its own share of the same batches; all get equally many.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        sources: Sequence[str],
        *,
        batch_tokens: int,
        sampling: Literal["proportional", "temperature", "uniform"] = "proportional",
        temperature: float = 2.0,
        seed: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """Prepare the draw.

        Args:
            lengths: tokens of each row; at least one row.
            sources: source of each row.
            batch_tokens: tokens in a batch, about.
            sampling: ``"proportional"`` takes every row once; the others draw as many rows with
                replacement, each source with a share of rows ** (1 / temperature), or an equal one.
            temperature: see `sampling`.
            seed: of the draw.
            process: whose batches these are, from 0.
            processes: how many share an epoch.

        Raises:
            DataError: when there are fewer rows than processes.
        """
        if len(lengths) < processes:
            raise DataError(
                f"{len(lengths)} training rows for {processes} processes: each needs one at least."
                f" Start at most {len(lengths)}."
            )
        self._lengths = np.asarray(lengths)
        self._weights = _weights(sources, sampling, temperature)
        self._process, self._processes = process, processes
        self._rounds = rounds(lengths, batch_tokens, processes)
        self._count = self._rounds * processes
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._rounds

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches(self._epoch)[self._process :: self._processes]:
            yield batch.tolist()

    def usual(self, counts: NDArray[np.int64]) -> float:
        """The mean over batches of a sum over their rows.

        Args:
            counts: what each row adds, `(rows,)`.
        """
        drawn = counts.sum() if self._weights is None else len(counts) * (self._weights @ counts)
        return float(drawn) / self._count

    def seen(self, which: NDArray[np.bool_], epochs: int) -> tuple[int, int]:
        """How many of some rows the first epochs have, and in how many steps there is one.

        Args:
            which: rows that count, `(rows,)`.
            epochs: from the first.
        """
        found = [which[batch].sum() for epoch in range(epochs) for batch in self._batches(epoch)]
        steps = np.reshape(found, (-1, self._processes)).sum(axis=1)
        return int(steps.sum()), int((steps > 0).sum())

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Rows of all batches of an epoch; each step takes as many as there are processes."""
        random = np.random.default_rng((self._seed, epoch))
        rows = self._draw(random)
        noise = random.uniform(0.9, 1.1, len(rows))
        rows = rows[np.argsort(self._lengths[rows] * noise, kind="stable")]
        ends = np.cumsum(self._lengths[rows])
        # Equal shares of tokens; each batch holds at least one row.
        cuts = np.searchsorted(ends, np.arange(1, self._count) * (ends[-1] / self._count)) + 1
        steps = np.arange(self._count - 1)
        cuts = np.maximum.accumulate(cuts - steps) + steps
        cuts = np.minimum(cuts, len(rows) - steps[::-1] - 1)
        batches = np.split(rows, cuts)
        return [batches[index] for index in random.permutation(self._count)]

    def _draw(self, random: np.random.Generator) -> NDArray[np.int64]:
        count = len(self._lengths)
        if self._weights is None:
            return random.permutation(count)
        return random.choice(count, size=count, p=self._weights)


def rounds(lengths: Sequence[int], batch_tokens: int, processes: int = 1) -> int:
    """Batches that each process gets in an epoch over rows of these lengths."""
    wanted = max(1, math.ceil(int(np.sum(lengths)) / (batch_tokens * processes)))
    return min(wanted, len(lengths) // processes)


def _weights(
    sources: Sequence[str], sampling: str, temperature: float
) -> NDArray[np.float64] | None:
    if sampling == "proportional":
        return None
    _, index, counts = np.unique(np.asarray(sources), return_inverse=True, return_counts=True)
    power = 0.0 if sampling == "uniform" else 1.0 / temperature
    shares = counts.astype(np.float64) ** power
    shares /= shares.sum()
    return np.asarray(shares[index] / counts[index])
