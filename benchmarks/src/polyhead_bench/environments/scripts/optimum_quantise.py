"""Dynamic int8 by Optimum; runs in an environment with `optimum-onnx[onnxruntime]`.

Started as ``python optimum_quantise.py FLOAT.onnx INT8.onnx CONFIGURATION``, a
method of `AutoQuantizationConfig` such as ``avx512_vnni``.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig


def main(source: str, target: str, configuration: str) -> None:
    """Quantise as Optimum's documentation does for this kind of CPU."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(source, folder / "model.onnx")
        quantiser = ORTQuantizer(folder / "model.onnx")
        make = getattr(AutoQuantizationConfig, configuration)
        config = make(is_static=False, per_channel=False)
        quantiser.quantize(save_dir=folder / "out", quantization_config=config)
        shutil.copy(next((folder / "out").glob("*.onnx")), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
