"""The certificate of a bundle: a text's answer does not depend on its batch or on threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polyhead.bundle import Certificate
from polyhead.cli.output import listed
from polyhead.text.encoding import Encoding
from polyhead.verify import stability
from polyhead_export.errors import StabilityError


def certify(graph: Path, encodings: Sequence[Encoding]) -> Certificate:
    """Measure the stability of a graph in the exact layout, and refuse any difference.

    Args:
        graph: the ONNX file.
        encodings: texts to ask, at least one; `polyhead verify --stability` asks the golden ones.

    Raises:
        StabilityError: when a logit is not the same to the bit.
    """
    found = stability.measure(graph, encodings)
    if not found.passed:
        raise StabilityError(
            f"{graph.name}: a text's logits differ by up to {found.max_difference:.2g} between"
            f" batches of {listed(found.batch_sizes)} and {listed(found.threads)} threads, allowed"
            f" is 0 ({found.cpu}, onnxruntime {found.onnxruntime}). Try another version of"
            " onnxruntime, and please report both with the encoder's family."
        )
    return found
