"""A graph in onnxruntime: as the runtime runs it, or with onnxruntime's defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from polyhead.inference.session import OnnxSession
from polyhead.system.onnx_runtime import ort

Options = Literal["runtime", "plain"]
"""``"runtime"``: as `polyhead.inference.session` does; ``"plain"``: with onnxruntime's defaults."""


class Run(Protocol):
    """Computes named outputs."""

    def __call__(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> Sequence[Any]:
        """Arrays in the order of `outputs`."""
        ...


@dataclass(frozen=True)
class Opened:
    """A graph that is ready.

    Attributes:
        run: computes.
        inputs: their names.
        outputs: their names.
    """

    run: Run
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def all(self, feeds: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
        """All outputs by name."""
        return dict(zip(self.outputs, self.run(self.outputs, feeds), strict=True))


def opened(graph: Path, options: Options, *, threads: int = 1) -> Opened:
    """Load a graph.

    Args:
        graph: a file.
        options: of the session.
        threads: of onnxruntime that share a call.
    """
    if options == "runtime":
        own = OnnxSession(graph, intra_op_threads=threads)
        return Opened(own.run, own.inputs, own.outputs)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 4
    session = ort.InferenceSession(str(graph), settings, providers=["CPUExecutionProvider"])
    inputs = tuple(node.name for node in session.get_inputs())
    outputs = tuple(node.name for node in session.get_outputs())
    return Opened(session.run, inputs, outputs)


def feeds(ids: NDArray[np.int64], inputs: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """What a graph with these inputs is fed for rows of equal length, int64 `(batch, tokens)`."""
    known = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return {name: known.get(name, np.zeros_like(ids)) for name in inputs}
