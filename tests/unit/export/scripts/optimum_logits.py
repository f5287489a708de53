"""Optimum reads a folder; runs in an environment with `optimum-onnx[onnxruntime]` and torch.

Started as ``python optimum_logits.py LOADER FOLDER TEXTS.json LOGITS.npz``. LOADER is a class of
`optimum.onnxruntime`; LOGITS gets one array a text or pair, called by its number: its logits, the
logits of start and end `(tokens, 2)`, or the vectors of its tokens.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optimum.onnxruntime
import torch
from transformers import AutoTokenizer

_ROWS = 8


def main(loader: str, folder: str, texts: str, logits: str) -> None:
    """Run padded batches of eight texts; logits of padding are left out."""
    model = getattr(optimum.onnxruntime, loader).from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    items = json.loads(Path(texts).read_text(encoding="utf-8"))
    found = {}
    for start in range(0, len(items), _ROWS):
        rows = items[start : start + _ROWS]
        firsts = [row if isinstance(row, str) else row[0] for row in rows]
        seconds = None if isinstance(rows[0], str) else [row[1] for row in rows]
        batch = tokenizer(firsts, seconds, padding=True, return_tensors="pt")
        with torch.inference_mode():
            output = _array(model(**batch)).numpy()
        for i, row in enumerate(output):
            tokens = int(batch["attention_mask"][i].sum())
            found[str(start + i)] = row[:tokens] if row.ndim == 2 else row
    np.savez(logits, **found)


def _array(answer: Any) -> torch.Tensor:
    if "start_logits" in answer:
        return torch.stack([answer.start_logits, answer.end_logits], dim=-1)
    found: torch.Tensor = answer["logits" if "logits" in answer else "last_hidden_state"]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
