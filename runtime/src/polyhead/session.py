"""The back end behind an engine: names in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from polyhead.bundle.onnx_scan import scan
from polyhead.cpu import saturates
from polyhead.errors import GraphError


class Backend(Protocol):
    """What an engine needs of whatever computes the logits."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        ...

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """Logits for a batch.

        Args:
            outputs: names of the wanted outputs.
            feeds: by input name, int64 `(batch, tokens)`; all rows have the same length.

        Returns:
            One float32 array an output: `(batch, …)` or `(batch, tokens, …)`.
        """
        ...

    def info(self) -> dict[str, Any]:
        """What really runs, as plain data."""
        ...


class OnnxSession:
    """onnxruntime on the CPU, one thread a call; may be called from many threads at once.

    The options keep onnxruntime's optimiser from putting back the slow fused operators that the
    exported graph avoids, and make CPUs without VNNI compute the same integers as those with it.
    """

    # SkipLayerNormalization took 213 µs where Add + LayerNormalization take 28, BiasGelu 114 where
    # Gelu takes 88 (onnxruntime 1.32, one thread, MiniLM's shapes).
    _KEEP_OUT = ("SkipLayerNormFusion", "BiasGeluFusion")

    def __init__(self, path: Path) -> None:
        """Load a graph.

        Raises:
            GraphError: when the graph is refused or onnxruntime cannot load it.
        """
        self._path = path
        content = path.read_bytes()
        scan(content, str(path))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if saturates():
            # Exact, and 1.7 times slower on a CPU with VNNI, which does not need it (onnxruntime
            # 1.32, MiniLM, 1 x 128 tokens: 9.8 ms with it, 5.7 without).
            options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = ort.InferenceSession(
                content,
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(self._KEEP_OUT),
                enable_fallback=0,
            )
        except Exception as problem:  # onnxruntime raises its own classes, which have no base
            raise GraphError(
                f"{path}: onnxruntime {ort.__version__} cannot load this graph: {problem}"
            ) from problem
        self.inputs = tuple(node.name for node in self._session.get_inputs())
        outputs = self._session.get_outputs()
        self.outputs = tuple(node.name for node in outputs)
        self.widths = {node.name: node.shape[-1] if node.shape else None for node in outputs}

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """Logits for a batch; see `Backend.run`.

        Raises:
            GraphError: when onnxruntime fails; a good graph of a good export never does.
        """
        try:
            results: list[NDArray[np.float32]] = self._session.run(list(outputs), dict(feeds))
        except Exception as problem:
            raise GraphError(
                f"{self._path}: onnxruntime {ort.__version__} cannot run this graph: {problem}"
            ) from problem
        return results

    def info(self) -> dict[str, Any]:
        """Provider and version that are in use."""
        return {
            "backend": "onnxruntime",
            "onnxruntime": ort.__version__,
            "provider": self._session.get_providers()[0],
        }
