"""int8 by NNCF; runs in an environment with `openvino` and `nncf`.

Started as ``python openvino_quantise.py FLOAT.onnx INT8.xml IDS.npz``.
"""

from __future__ import annotations

import sys

import nncf
import numpy as np
import openvino as ov


def main(source: str, target: str, ids: str) -> None:
    """Quantise with the preset for transformers."""
    model = ov.Core().read_model(source)
    rows = [array[None] for array in np.load(ids).values()]
    data = nncf.Dataset(rows, lambda row: {"input_ids": row, "attention_mask": np.ones_like(row)})
    quantised = nncf.quantize(
        model,
        data,
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(rows),
    )
    ov.save_model(quantised, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
