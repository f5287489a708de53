"""Optimum makes an ONNX folder of a transformers folder; runs in Optimum's own environment.

Started as ``python optimum_export.py LOADER SOURCE TARGET``. LOADER is a class of
`optimum.onnxruntime`.
"""

from __future__ import annotations

import sys

import optimum.onnxruntime
from transformers import AutoTokenizer


def main(loader: str, source: str, target: str) -> None:
    """Export and save, the tokenizer too."""
    model = getattr(optimum.onnxruntime, loader).from_pretrained(source, export=True)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
