"""Optimum's ORTModel classes, one a head, in batches with padding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch
from optimum import onnxruntime as optimum

from polyhead.tokenizing import Input, Tokenizer
from polyhead_bench.peers import padded
from polyhead_bench.peers.base import Answers


class OptimumPeer:
    """`folder` has a folder for each head, see `polyhead export --format optimum`."""

    schedules = padded.SCHEDULES
    callers = 1

    def __init__(self, folder: Path, threads: int, heads: Sequence[str]) -> None:
        torch.set_num_threads(threads)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._threads = threads
        self._heads = {}
        for name in heads:
            config = json.loads((folder / name / "config.json").read_text(encoding="utf-8"))
            tokens = config["polyhead"]["kind"] == "tokens.v1"
            loader = f"ORTModelFor{'Token' if tokens else 'Sequence'}Classification"
            model: Any = getattr(optimum, loader)
            loaded = model.from_pretrained(folder / name, session_options=options)
            self._heads[name] = (padded.Head.of(config), loaded)
        first = folder / heads[0]
        self._tokenizer = Tokenizer.from_file(first / "tokenizer.json")
        settings = json.loads((first / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._inputs, self._longest = settings["model_input_names"], settings["model_max_length"]

    def answer(self, text: Input) -> Answers:
        """Answer one text, unpadded."""
        return self.answer_all([text], padded.SCHEDULES[0])[0]

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many; over-long texts are cut, as is usual with these classes."""
        encodings = [e.cut(self._longest) for e in self._tokenizer.encode(texts)]
        answers: list[Answers] = [{} for _ in encodings]
        for rows in padded.batches([len(e) for e in encodings], schedule):
            feeds = padded.feeds([encodings[i].ids for i in rows])
            given = {name: feeds[name] for name in self._inputs}
            for name, (head, model) in self._heads.items():
                logits = model(**given).logits
                for row, i in enumerate(rows):
                    answers[i][name] = head.decode(logits[row], encodings[i])
        return answers

    def profile(self, text: Input) -> Mapping[str, float]:
        """Not told."""
        return {}

    def info(self) -> Mapping[str, Any]:
        """Version and threads."""
        return {"onnxruntime": ort.__version__, "threads": self._threads}


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> OptimumPeer:
    """Load a graph for each of the wanted heads."""
    return OptimumPeer(folder, threads, options["heads"])
