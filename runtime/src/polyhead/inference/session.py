"""The back end behind an engine: names in, arrays out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from mmap import mmap
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from polyhead.errors import GraphError
from polyhead.inference import providers
from polyhead.inference.graph_file import GraphFile
from polyhead.inference.per_process import PerProcess
from polyhead.inference.providers import CPU
from polyhead.system.cpu import saturates
from polyhead.system.onnx_runtime import ort


class Backend(Protocol):
    """What an engine needs of whatever computes the logits."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        ...

    @property
    def wide(self) -> WideBackend | None:
        """The same with several threads for one call; None where there is none."""
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


class WideBackend(Backend, Protocol):
    """A back end whose calls take several threads of the budget."""

    @property
    def threads(self) -> int:
        """How many."""
        ...

    def ready(self, start: Callable[[Callable[[], None]], bool]) -> bool:
        """Whether it can run at once; where not, has it opened by `start` in another thread.

        `start` says whether it could; where not, the next call tries again.
        """
        ...


class OnnxSession:
    """onnxruntime on one graph; may be called from many threads at once, and after a fork.

    The options keep onnxruntime's optimiser from putting back the slow fused operators that the
    exported graph avoids, and make CPUs without VNNI compute the same integers as those with it.
    """

    wide: WideBackend | None = None
    _busy = False

    # SkipLayerNormalization took 213 µs where Add + LayerNormalization take 28, BiasGelu 114 where
    # Gelu takes 88 (onnxruntime 1.32, one thread, MiniLM's shapes).
    _KEEP_OUT = ("SkipLayerNormFusion", "BiasGeluFusion")

    def __init__(
        self,
        path: Path,
        *,
        intra_op_threads: int = 1,
        provider: str = CPU,
        provider_options: Mapping[str, Any] | None = None,
        spin: bool = False,
        session_options: ort.SessionOptions | None = None,
        check: Callable[[mmap], None] | None = None,
    ) -> None:
        """Load a graph.

        Args:
            path: of the graph.
            intra_op_threads: threads of onnxruntime's own that share the work of a call.
            provider: onnxruntime's name of the execution provider.
            provider_options: passed through.
            spin: whether onnxruntime's threads wait for work in a busy loop.
            session_options: used as they are, in place of all options that are set here.
            check: refuses a wrong content of the file, with an error of the tree.

        Raises:
            GraphError: when the graph is refused or onnxruntime cannot load it.
            ProviderUnavailable: when the provider is not there, or cannot start with a graph that
                the CPU can load.
        """
        self._path = path
        self._intra_op_threads, self._spin = intra_op_threads, spin
        self._options = session_options
        self._provider = (provider, {k: str(v) for k, v in (provider_options or {}).items()})
        providers.require(provider)
        self._file = GraphFile(path, check)
        self._session = PerProcess(self._make)
        session = self._session.get()
        self.inputs = tuple(node.name for node in session.get_inputs())
        outputs = session.get_outputs()
        self.outputs = tuple(node.name for node in outputs)
        self.widths = {node.name: node.shape[-1] if node.shape else None for node in outputs}

    def with_threads(self, intra_op_threads: int) -> OnnxSession:
        """The same graph with more threads for one call; read from its file when it first runs.

        They wait for each other in a busy loop, but only while a text is computed: they sleep
        between calls, unless this session's spin.
        """
        other = copy(self)
        other._intra_op_threads, other._busy = intra_op_threads, True
        other._session = PerProcess(other._make)
        return other

    def open(self) -> None:
        """Read the graph now; raises what the constructor raises."""
        self._session.get()

    def _make(self) -> ort.InferenceSession:
        with self._model() as model:
            return self._checked_provider(self._start(model))

    @contextmanager
    def _model(self) -> Iterator[str | bytes]:
        """The checked graph: a name by which to open it, or its bytes."""
        with self._file.opened() as (file, _):
            yield _name(file, self._path)

    def _start(self, model: str | bytes) -> ort.InferenceSession:
        try:
            return self._opened(model, self._provider)
        except Exception as problem:  # onnxruntime raises its own classes, which have no base
            if self._provider[0] != CPU and self._loads_on_the_cpu(model):
                raise providers.failed(self._provider[0], problem) from problem
            raise GraphError(
                f"{self._path}: onnxruntime {ort.__version__} cannot load this graph: {problem}"
            ) from problem

    def _opened(
        self, model: str | bytes, provider: tuple[str, dict[str, str]]
    ) -> ort.InferenceSession:
        return ort.InferenceSession(
            model,
            self._options or self._usual_options(),
            providers=[provider],
            disabled_optimizers=list(self._KEEP_OUT),
            enable_fallback=0,
        )

    def _loads_on_the_cpu(self, model: str | bytes) -> bool:
        """Tells a provider that cannot start from a bad graph: their errors look alike."""
        try:
            self._opened(model, (CPU, {}))
        except Exception:
            return False
        return True

    def _checked_provider(self, session: ort.InferenceSession) -> ort.InferenceSession:
        session.disable_fallback()
        providers.require_used(self._provider[0], session.get_providers())
        return session

    def _usual_options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._intra_op_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        spin = self._spin or self._busy
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        if not self._spin:
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if saturates():
            # Exact, and 1.7 times slower on a CPU with VNNI, which does not need it (onnxruntime
            # 1.32, MiniLM, 1 x 128 tokens: 9.8 ms with it, 5.7 without). Without it an emulated
            # Haswell changed 3 of the demo's 100 sentiments and the entities of 5 texts; with it
            # none (tests/e2e/emulated.py).
            options.add_session_config_entry("session.x64quantprecision", "1")
        return options

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """Logits for a batch; see `Backend.run`.

        Raises:
            GraphError: when onnxruntime fails; a good graph of a good export never does.
            BundleError: in a forked process, when the file is not there or another one.
        """
        session = self._session.get()
        try:
            results: list[NDArray[np.float32]] = session.run(outputs, feeds)
        except Exception as problem:
            raise GraphError(
                f"{self._path}: onnxruntime {ort.__version__} cannot run this graph: {problem}"
            ) from problem
        return results

    def info(self) -> dict[str, Any]:
        """Provider, version, options and file that are in use."""
        options = self._options
        own = {"intra_op_threads": self._intra_op_threads, "spin": self._spin}
        if options is not None:
            spin = _entry(options, "session.intra_op.allow_spinning")
            own = {"intra_op_threads": options.intra_op_num_threads, "spin": spin != "0"}
        return {
            "backend": "onnxruntime",
            "onnxruntime": ort.__version__,
            "provider": self._session.get().get_providers()[0],
            **own,
            "wide": None if self.wide is None else self.wide.info(),
        }


def _entry(options: ort.SessionOptions, key: str) -> str | None:
    try:
        return str(options.get_session_config_entry(key))
    except RuntimeError:  # not set
        return None


def _name(file: BinaryIO, path: Path) -> str:
    """What to open for exactly this file, even if another one stands at `path` meanwhile.

    onnxruntime loads 58 MB by a name in 59 ms and from bytes in 86 (1.32, MiniLM).
    """
    name = f"/proc/self/fd/{file.fileno()}"
    return name if sys.platform == "linux" and Path(name).exists() else str(path)
