"""sentence-transformers' own ONNX export; runs in Optimum's environment.

Started as ``python sentence_transformers_export.py ENCODER``: the graph is written beside the
weights, as ``onnx/model.onnx``.
"""

from __future__ import annotations

import sys

from sentence_transformers.sentence_transformer.modules import Transformer


def main(folder: str) -> None:
    """Export as the library does when it finds no graph, and keep it."""
    Transformer(folder, backend="onnx").save(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
