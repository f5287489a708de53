"""Graphs side by side in one process, one thread each, in turns."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from polyhead.inference.options import DISABLED_OPTIMIZERS
from polyhead.system.cpu import saturates

Feeds = dict[str, NDArray[np.int64]]


def session(model: ir.Model, keep_out: Sequence[str] = ()) -> ort.InferenceSession:
    """A session with the options of the runtime, and more optimisers switched off."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if saturates():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(
        ir.to_proto(model).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[*DISABLED_OPTIMIZERS, *keep_out],
    )


def in_turns(
    sessions: Sequence[ort.InferenceSession], feeds: Feeds, *, rounds: int
) -> NDArray[np.float64]:
    """Milliseconds of a call, `(sessions, rounds)`; the order turns round from round to round.

    Args:
        sessions: that read `feeds`.
        feeds: by input name, int64 `(batch, tokens)`.
        rounds: at least 1; two more go before, unmeasured.
    """
    times = np.zeros((len(sessions), rounds))
    for turn in range(-2, rounds):
        order = range(len(sessions))
        for index in order if turn % 2 == 0 else reversed(order):
            start = time.perf_counter()
            sessions[index].run(None, feeds)
            if turn >= 0:
                times[index, turn] = (time.perf_counter() - start) * 1e3
    return times
