"""Optimum quantises a folder and answers one text at a time; runs in Optimum's own environment.

Started as ``python optimum_single.py FP32_FOLDER INT8_FOLDER``. Prints the logits of the first
text, then for each line that it reads the seconds of one pass over all texts. One thread.
"""

from __future__ import annotations

import sys
import time

import onnxruntime
from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig
from transformers import AutoTokenizer

TEXTS = tuple(
    "the parcel of Anna came late and the kettle in it was broken , please call me back " * n
    for n in (1, 2, 1, 3)
)


def main(source: str, target: str) -> None:
    """Quantise, load, answer."""
    # Of attention in opset 23 onnxruntime's quantiser makes a graph that it cannot load.
    config = AutoQuantizationConfig.avx512_vnni(
        is_static=False, per_channel=True, operators_to_quantize=["MatMul", "Gemm"]
    )
    ORTQuantizer.from_pretrained(source).quantize(save_dir=target, quantization_config=config)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(target)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = ORTModelForSequenceClassification.from_pretrained(target, session_options=options)

    def answer(text: str) -> list[float]:
        return [float(x) for x in model(**tokenizer(text, return_tensors="np")).logits[0]]

    for text in TEXTS:
        answer(text)
    sys.stdout.write(" ".join(map(str, answer(TEXTS[0]))) + "\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        start = time.perf_counter()
        for text in TEXTS:
            answer(text)
        sys.stdout.write(f"{time.perf_counter() - start}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
