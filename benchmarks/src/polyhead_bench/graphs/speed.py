"""The bundle's graph against others of the same weights, and a model of BERT-base's shape."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from polyhead.bundle import read
from polyhead.system import cpu
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench import texts as asked
from polyhead_bench.checks import Check, at_most
from polyhead_bench.graphs import exporting, peers, rivals
from polyhead_bench.graphs.race import race
from polyhead_bench.run import words_of

MINILM, BERT_BASE = "MiniLM's shape", "BERT-base's shape"
TEXTS = 512
"""That BERT-base is exported with: half of them calibrate."""
_FULL = 32
_LARGE_NOTE = (
    f"random weights, so --max-flips 100; {TEXTS} texts, {TEXTS // 2} of them calibrate,"
    f" {_FULL} as long as it reads"
)
_LARGE = (("export of a BERT-base-size model", 10, "min"), ("peak memory of that export", 8, "GiB"))

Note = Callable[[str], None]
Found = tuple[list[Check], dict[str, Any]]


def small(checkpoint: Path, bundle: Path, *, rounds: int, cache: Path, note: Note) -> Found:
    """The bundle's graph against others of the same weights, one thread.

    Times include nothing but the graph, and answers are compared first. A peer that cannot be made,
    answers otherwise or crashes is rows that say why.

    Args:
        checkpoint: behind the bundle.
        bundle: with an int8 graph in the exact layout.
        rounds: of each graph at each shape.
        cache: folder with the environments of Optimum and OpenVINO.
        note: called with short remarks for whoever watches.
    """
    shapes = [s for s in rivals.SMALL if s[1] <= read(bundle).manifest.encoder.max_tokens]
    with tempfile.TemporaryDirectory() as name:
        note("making the graphs to compare with")
        model = _model(checkpoint)
        reference = peers.reference(model, bundle)
        made = peers.minilm(model, checkpoint, bundle, Path(name), cache)
        del model
        note(f"racing {', '.join(made.commands)}")
        found = race(made.commands, reference, shapes, rounds=rounds)
    found.faults.update(made.faults)
    known = rivals.of_minilm(cpu.describe().flags)
    return rivals.against(found, known, rivals.SMALL, MINILM), found.plain()


def small_rows() -> list[tuple[str, str]]:
    """Names and limits of what `small` measures."""
    return rivals.limited(rivals.of_minilm(cpu.describe().flags), rivals.SMALL, MINILM)


def large(bundle: Path, *, rounds: int, note: Note) -> Found:
    """A model of BERT-base's shape with random weights: export, and race against the textbook's.

    Args:
        bundle: whose tokenizer and words it is given.
        rounds: of each graph at each shape.
        note: called with short remarks for whoever watches.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        note("making a model of BERT-base's shape")
        checkpoint, texts = _bert_base(folder, bundle)
        note("exporting it")
        words = ["export", checkpoint, "-o", folder / "bundle", "--texts", texts]
        seconds, peak = exporting.measured([*words, "--max-flips", "100"])
        figures = (seconds / 60, peak / 2**30)
        checks = [
            at_most(row, value, most, unit, _LARGE_NOTE)
            for (row, most, unit), value in zip(_LARGE, figures, strict=True)
        ]
        model = _model(checkpoint)
        reference = peers.reference(model, folder / "bundle")
        made = peers.base(model, folder / "bundle", folder)
        del model
        note("racing it")
        found = race(made.commands, reference, rivals.LARGE, rounds=rounds)
    found.faults.update(made.faults)
    checks += rivals.against(found, rivals.OF_BERT_BASE, rivals.LARGE, BERT_BASE)
    return checks, {"seconds": seconds, "peak_bytes": peak, **found.plain()}


def large_rows() -> list[tuple[str, str]]:
    """Names and limits of what `large` measures."""
    rows = [(name, f"<= {most:g} {unit}") for name, most, unit in _LARGE]
    return rows + rivals.limited(rivals.OF_BERT_BASE, rivals.LARGE, BERT_BASE)


def _model(checkpoint: Path) -> Any:
    from polyhead_models import checkpoint as checkpoints

    return checkpoints.load(checkpoint).model


def _bert_base(folder: Path, bundle: Path) -> tuple[Path, Path]:
    """A checkpoint of a random BERT of 110 million parameters, and texts to calibrate with."""
    import torch
    import transformers

    from polyhead_models import checkpoint as checkpoints

    known = read(bundle)
    tokenizer_file = known.file(known.manifest.tokenizer)
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False)
    model.save_pretrained(folder / "bert")
    shutil.copy(tokenizer_file, folder / "bert" / "tokenizer.json")
    exporting.measured(["import", folder / "bert", "-o", folder / "checkpoint"])
    longest = checkpoints.describe(folder / "checkpoint").config.encoder.max_tokens
    tokenizer = Tokenizer.from_file(tokenizer_file)
    words = words_of(asked.golden(known, tokenizer))
    made = bert_texts(words, tokenizer, longest=longest)
    lines = [json.dumps({"text": text}) for text in made]
    (folder / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "checkpoint", folder / "texts.jsonl"


def bert_texts(words: list[str], tokenizer: Tokenizer, *, longest: int) -> list[Any]:
    """Texts of mixed lengths and some of exactly `longest` tokens, shuffled."""
    mixed = asked.mixed(
        words, tokenizer, count=TEXTS - _FULL, mean=28, longest=min(256, longest), seed=0
    )
    full = asked.fixed(words, tokenizer, tokens=longest, count=_FULL)
    texts = [*mixed.inputs, *full.inputs]
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
