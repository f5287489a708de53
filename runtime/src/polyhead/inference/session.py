"""Sessions of onnxruntime on one graph: the usual one, and one with more threads for a call."""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.selection import CPU
from polyhead.errors import GraphError
from polyhead.inference import providers
from polyhead.inference._graph_file import GraphFile
from polyhead.inference._per_process import PerProcess
from polyhead.inference.int8_kernels import int8_kernel
from polyhead.inference.options import DISABLED_OPTIMIZERS, cpu_session_options
from polyhead.system import cpu, memory
from polyhead.system.onnx_runtime import ort

_log = logging.getLogger(__name__)

# While onnxruntime makes a session it holds a lock of all of them, for which a child that is forked
# then would wait for ever (seen with 1.32). So a fork waits for sessions that are being made.
_MAKING = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_MAKING.acquire, after_in_parent=_MAKING.release, after_in_child=_MAKING.release
    )


class OnnxSession:
    """onnxruntime on one graph; may be called from many threads at once, and after a fork."""

    _spin_in_call = False

    def __init__(
        self,
        path: Path,
        *,
        intra_op_threads: int = 1,
        provider: str = CPU,
        provider_options: Mapping[str, Any] | None = None,
        spin: bool = False,
        session_options: ort.SessionOptions | None = None,
        check: Callable[[bytes], None] | None = None,
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
        self._session = PerProcess[ort.InferenceSession]()
        session = self._session.get(self._make)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        self.inputs = tuple(node.name for node in inputs)
        self.outputs = tuple(node.name for node in outputs)
        self.types = {node.name: node.type for node in (*inputs, *outputs)}
        self.shapes = {node.name: tuple(node.shape) for node in (*inputs, *outputs)}
        self.widths = {node.name: node.shape[-1] if node.shape else None for node in outputs}

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[np.float32]]:
        """Logits for a batch; see `polyhead.inference.backend.Backend.run`.

        Raises:
            GraphError: when onnxruntime fails; a good graph of a good export never does.
            BundleError: in a forked process, when the file is not there or another one.
        """
        session = self._session.made.get(os.getpid()) or self._session.get(self._make)
        try:
            results: list[NDArray[np.float32]] = session.run(outputs, feeds)
        except Exception as problem:
            raise self._failed("run", problem) from problem
        return results

    def fill(self, outputs: Mapping[str, NDArray[Any]], feeds: Mapping[str, NDArray[Any]]) -> None:
        """Run the graph with its results in the caller's arrays.

        Args:
            outputs: C-contiguous arrays by output name, of the shapes that the graph gives.
            feeds: C-contiguous arrays by input name.

        Raises:
            GraphError: when onnxruntime fails, as for another shape.
            BundleError: as `run`.
        """
        session = self._session.made.get(os.getpid()) or self._session.get(self._make)
        binding = session.io_binding()
        for arrays, bind in ((feeds, binding.bind_input), (outputs, binding.bind_output)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        try:
            session.run_with_iobinding(binding)
        except Exception as problem:
            raise self._failed("run", problem) from problem

    @property
    def file(self) -> Path:
        """Where the graph was read."""
        return self._path

    def info(self) -> dict[str, Any]:
        """Provider, version and options that are in use."""
        options = self._options
        own = {"intra_op_threads": self._intra_op_threads, "spin": self._spin}
        if options is not None:
            spin = _entry(options, "session.intra_op.allow_spinning")
            own = {"intra_op_threads": options.intra_op_num_threads, "spin": spin != "0"}
        return {
            "backend": "onnxruntime",
            "onnxruntime": ort.__version__,
            "provider": self._provider[0],
            "int8_kernel": int8_kernel(cpu.describe()).name if self._provider[0] == CPU else None,
            **own,
        }

    def with_threads(self, intra_op_threads: int) -> OnnxSession:
        """The same graph with more threads for one call; read from its file when it first runs.

        They wait for each other in a busy loop, but only while a text is computed: they sleep
        between calls, unless this session's spin.
        """
        other = copy(self)
        other._intra_op_threads, other._spin_in_call = intra_op_threads, True
        other._session = PerProcess()
        return other

    def open(self) -> None:
        """Read the graph now, where this process has not; raises what the constructor raises."""
        self._session.get(self._make)

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        """Free it in the thread that used it last, and give its memory back."""
        # When the interpreter ends, the names of modules may be None already.
        if not ending() and hasattr(self, "_session") and self._session.made:
            self._session.made.clear()
            memory.give_back()

    def _make(self) -> ort.InferenceSession:
        with self._file.opened() as source:
            session = self._start(source)
        session.disable_fallback()
        providers.require_used(self._provider[0], session.get_providers())
        memory.give_back()  # onnxruntime has read the file into it
        return session

    def _start(self, graph: str | bytes) -> ort.InferenceSession:
        try:
            return self._opened(graph, self._provider)
        except Exception as problem:  # onnxruntime raises its own classes, which have no base
            if self._provider[0] != CPU and self._loads_on_the_cpu(graph):
                raise providers.failed(self._provider[0], problem) from problem
            raise self._failed("load", problem) from problem

    def _failed(self, what: str, problem: Exception) -> GraphError:
        version = ort.__version__
        return GraphError(
            f"{self._path}: onnxruntime {version} cannot {what} this graph: {problem}"
        )

    def _opened(
        self, graph: str | bytes, provider: tuple[str, dict[str, str]]
    ) -> ort.InferenceSession:
        usual = cpu_session_options(
            intra_op_threads=self._intra_op_threads,
            spin=self._spin,
            spin_in_call=self._spin_in_call,
        )
        with _MAKING:
            return ort.InferenceSession(
                graph,
                self._options or usual,
                providers=[provider],
                disabled_optimizers=list(DISABLED_OPTIMIZERS),
                enable_fallback=0,
            )

    def _loads_on_the_cpu(self, graph: str | bytes) -> bool:
        """Tells a provider that cannot start from a bad graph: their errors look alike."""
        try:
            self._opened(graph, (CPU, {}))
        except Exception:
            return False
        return True


class MultiThreadedSession:
    """A second session of a graph that gives the same bits sooner, with more threads for one call.

    A session has one number of threads, so this is one more, with its own copy of the weights. It
    is opened when it is first asked for, while the other one computes. Where that fails, as the
    bundle was replaced on disk meanwhile, the other one goes on; log and `info` say so.
    """

    def __init__(self, single: OnnxSession, threads: int, min_tokens: int) -> None:
        """Nothing is opened yet.

        Args:
            single: the graph as it is loaded.
            threads: threads for one call.
            min_tokens: shortest text that is worth them.
        """
        self.threads, self.min_tokens = threads, min_tokens
        self.session = single.with_threads(threads)
        self._fault: str | None = None
        self._asked: int | None = None  # the process that had it opened

    def ready(self, start: Callable[[Callable[[], None]], bool]) -> bool:
        """Whether it can run at once; where not, has it opened by `start` in another thread.

        `start` says whether it could; where not, the next call tries again.
        """
        process = os.getpid()
        if self._asked != process:
            if start(partial(_open, weakref.ref(self))):
                self._asked = process
            return False
        return self._fault is None and process in self.session._session.made

    def open(self) -> None:
        """Open it now, or wait for the thread that does."""
        self._asked, self._fault = os.getpid(), None
        try:
            self.session.open()
        except Exception as problem:  # whatever it is, there is a session that computes
            self._fault = str(problem)
            _log.warning("single-text requests are computed by one thread: %s", self._fault)

    def info(self) -> dict[str, Any]:
        """From how many tokens on how many threads, and whether the session is open."""
        return {
            "intra_op_threads": self.threads,
            "intra_op_min_tokens": self.min_tokens,
            "open": self._fault is None and self.session._session.peek() is not None,
            "fault": self._fault,
        }


def _open(wanted: weakref.ref[MultiThreadedSession]) -> None:
    """Open a session, unless its engine has ended or was reloaded before there was a thread."""
    session = wanted()
    if session is not None:
        session.open()


def _entry(options: ort.SessionOptions, key: str) -> str | None:
    try:
        return str(options.get_session_config_entry(key))
    except RuntimeError:  # not set
        return None
