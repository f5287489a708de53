"""A graph with a mask, run in batches with padding: what peers have whose graphs need it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle import read
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding, Input
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench.peers.base import Answers, Feeds, Peer

ORDERS = {
    "one per call": (1, False),
    "batch 32, arrival order": (32, False),
    "batch 32, sorted": (32, True),
    "batch 8, sorted": (8, True),
}
SCHEDULES = tuple(ORDERS)
"""How padded peers go through a list; sorted is by length."""
_SIDE_BY_SIDE = ", workers of one thread"
SIDE_BY_SIDE = tuple(name + _SIDE_BY_SIDE for name in SCHEDULES if "arrival" not in name)
"""More of them, a thread a batch, with as many threads in all."""
PER_TOKEN = frozenset({"tokens.v1", "answer.v1", "summary.v1", "compress.v1"})
"""Kinds of heads whose logits are `(tokens, …)`, so that those of padding have to go."""

Run = Callable[[Feeds], Sequence[Any]]
"""Inputs by name, each `(batch, tokens)`, into logits of each head, `(batch, …)`."""


def batches(lengths: Sequence[int], schedule: str) -> list[list[int]]:
    """Indices of each batch, every text in one of them; none for no text."""
    size, by_length = ORDERS[schedule]
    order = list(range(len(lengths)))
    if by_length:
        order.sort(key=lengths.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]


def feeds(ids: Sequence[NDArray[np.int64]], multiple: int = 1) -> dict[str, NDArray[np.int64]]:
    """Ids, mask and token types, each int64 `(batch, tokens)`, padded with 0 at the end.

    Args:
        ids: of each text.
        multiple: `tokens` is the longest text's length, rounded up to a multiple of it.
    """
    longest = max(map(len, ids))
    padded = np.zeros((len(ids), -(-longest // multiple) * multiple), np.int64)
    mask = np.zeros_like(padded)
    for row, own in enumerate(ids):
        padded[row, : len(own)], mask[row, : len(own)] = own, 1
    return {
        "input_ids": padded,
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(padded),
    }


class PaddedPeer(Peer):
    """The runtime's tokenizer and decoders around another engine; over-long texts are cut.

    A graph without ``attention_mask`` gets one text per call.
    """

    def __init__(
        self,
        run: Run,
        inputs: Sequence[str],
        specs: Mapping[str, HeadSpec],
        tokenizer: Tokenizer,
        longest: int,
        *,
        info: Mapping[str, Any],
        workers: Callable[[], Sequence[Run]] | None = None,
        multiple: int = 1,
    ) -> None:
        """Take an engine that is loaded.

        Args:
            run: uses all threads that the peer may.
            inputs: of `feeds`, that it is given.
            specs: of the heads, in the order of its outputs.
            tokenizer: of the model.
            longest: tokens that it reads at once.
            info: versions and settings.
            workers: makes engines of one thread each; None where they would be the same as `run`.
            multiple: lengths are padded to a multiple of it.
        """
        self._run, self._inputs, self._longest = run, tuple(inputs), longest
        self._heads = {
            name: (decoder(name, spec), spec.kind in PER_TOKEN) for name, spec in specs.items()
        }
        self._tokenizer, self._multiple = tokenizer, multiple
        self._info = {**info, "max_tokens": longest}
        self._make_workers = workers
        self._free: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        names = SCHEDULES if workers is None else (*SCHEDULES, *SIDE_BY_SIDE)
        masked = "attention_mask" in self._inputs
        self.schedules = names if masked else tuple(n for n in names if n.startswith(SCHEDULES[0]))

    def answer(self, text: Input) -> Answers:
        """Answer one text."""
        return self.answer_all([text], SCHEDULES[0])[0]

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many."""
        encodings = self._encode(texts)
        order = schedule.removesuffix(_SIDE_BY_SIDE)
        rows = batches([len(encoding) for encoding in encodings], order)
        parts = [[encodings[i] for i in row] for row in rows]
        if order == schedule:
            found = [self._batch(self._run, part) for part in parts]
        else:
            found = list(self._workers().map(self._by_worker, parts))
        answers: list[Answers] = [{} for _ in encodings]
        for row, batch in zip(rows, found, strict=True):
            for i, answer in zip(row, batch, strict=True):
                answers[i] = answer
        return answers

    def encode(self, text: Input) -> Feeds:
        """Ids, mask and token types, padded as this peer pads."""
        return self._feeds(self._encode([text]))

    def run_graph(self, feeds: Feeds) -> Sequence[Any]:
        """Logits by head, with all threads."""
        return self._run({name: feeds[name] for name in self._inputs})

    def info(self) -> Mapping[str, Any]:
        """Versions and settings."""
        return self._info

    def _encode(self, texts: Sequence[Input]) -> list[Encoding]:
        return [e.cut(self._longest) for e in self._tokenizer.encode(texts)]

    def _batch(self, run: Run, encodings: Sequence[Encoding]) -> list[Answers]:
        return self._decode(run(self._feeds(encodings)), encodings)

    def _feeds(self, encodings: Sequence[Encoding]) -> Feeds:
        known = feeds([e.ids for e in encodings], self._multiple)
        return {name: known[name] for name in self._inputs}

    def _decode(self, logits: Sequence[Any], encodings: Sequence[Encoding]) -> list[Answers]:
        answers: list[Answers] = [{} for _ in encodings]
        for (name, (head, per_token)), array in zip(self._heads.items(), logits, strict=True):
            for answer, row, encoding in zip(answers, array, encodings, strict=True):
                found = np.asarray(row[: len(encoding)] if per_token else row)
                answer[name] = head.decode(found, encoding).to_dict()
        return answers

    def _workers(self) -> ThreadPoolExecutor:
        if self._pool is None:
            assert self._make_workers is not None
            runs = self._make_workers()
            for run in runs:
                self._free.put(run)
            self._pool = ThreadPoolExecutor(len(runs))
        return self._pool

    def _by_worker(self, encodings: Sequence[Encoding]) -> list[Answers]:
        run = self._free.get()
        try:
            return self._batch(run, encodings)
        finally:
            self._free.put(run)


def peer(
    make: Callable[[int], tuple[Run, Sequence[str]]],
    threads: int,
    options: Mapping[str, Any],
    *,
    info: Mapping[str, Any],
    workers: Callable[[], Sequence[Run]] | None = None,
    multiple: int = 1,
) -> PaddedPeer:
    """A `PaddedPeer` for the heads of a run.

    Args:
        make: an engine with so many threads, and the names of its inputs.
        threads: that the peer may use.
        options: as `polyhead_bench.peers.load` takes them: ``heads``, and ``bundle``, the folder of
            the bundle that says what they are.
        info: versions and settings.
        workers: makes engines of one thread each; None makes one after the other.
        multiple: lengths are padded to a multiple of it.
    """
    bundle = read(options["bundle"])
    manifest = bundle.manifest
    run, inputs = make(threads)
    side_by_side = workers or (lambda: [make(1)[0] for _ in range(threads)])
    return PaddedPeer(
        run,
        inputs,
        {name: manifest.heads[name] for name in options["heads"]},
        Tokenizer.of_bundle(bundle),
        manifest.encoder.max_tokens,
        info={"threads": threads, **info},
        workers=side_by_side if threads > 1 else None,
        multiple=multiple,
    )
