"""Options of onnxruntime for the exported graphs."""

from __future__ import annotations

from polyhead.inference.int8_kernels import int8_kernel
from polyhead.system import cpu
from polyhead.system.onnx_runtime import ort

DISABLED_OPTIMIZERS = ("SkipLayerNormFusion", "BiasGeluFusion")
"""Fusions that would put back the slow operators which the exported graph avoids.

SkipLayerNormalization took 213 µs where Add + LayerNormalization take 28, BiasGelu 114 where Gelu
takes 88 (onnxruntime 1.32, one thread, MiniLM's shapes).
"""


def cpu_session_options(
    *, intra_op_threads: int = 1, spin: bool = False, spin_in_call: bool = False
) -> ort.SessionOptions:
    """How a session runs a graph, so that each CPU computes the same integers.

    All sessions of polyhead have these options. Only peers of the benchmarks and tests of an option
    itself set their own.

    Args:
        intra_op_threads: threads of onnxruntime's own that share the work of a call; 0 for all.
        spin: whether these threads wait for work in a busy loop, between calls too.
        spin_in_call: whether they do so during a call only.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, and so need not be printed
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", str(int(spin or spin_in_call))
    )
    if not spin:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if int8_kernel(cpu.describe()).saturates:
        # On a CPU with VNNI it would slow weights beyond ±64 down for nothing: MiniLM, onnxruntime
        # 1.32, 1 x 128 tokens, took 9.8 ms with it and 5.7 without.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options
