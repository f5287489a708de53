"""How near the graph is to what this core can do."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

_SIZE = 1024
_REPEATS = 15


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The best rate of one core.

    Attributes:
        kind: ``"int8"`` or ``"fp32"``.
        measured: billions of operations a second of a 1024³ product in onnxruntime, one thread; a
            multiplication and an addition are two.
        theoretical: from the CPU's instructions and highest clock; None where either is unknown.
    """

    kind: str
    measured: float
    theoretical: float | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """The graph at one length.

    Attributes:
        tokens: of the one text.
        operations: billions, in the products of matrices.
        ms: shortest time of a run, one thread.
        share: of the measured int8 or fp32 peak.
        by_operator: share of the time by operator, from onnxruntime's profile.
    """

    tokens: int
    operations: float
    ms: float
    share: float
    by_operator: dict[str, float]


def peaks(flags: Sequence[str], clock_ghz: float | None) -> dict[str, Peak]:
    """Measure the peaks of one core.

    Args:
        flags: instruction sets of the CPU, by the kernel's names.
        clock_ghz: its highest clock; None where unknown.
    """
    return {
        kind: Peak(
            kind=kind,
            measured=_gemm(kind),
            theoretical=None if clock_ghz is None else _per_cycle(kind, flags) * clock_ghz,
        )
        for kind in ("int8", "fp32")
    }


def clock_ghz() -> float | None:
    """The highest clock of the first core, in GHz; None where the kernel tells none."""
    file = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    if file.is_file():
        return int(file.read_text()) / 1e6
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    found = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return max(found) / 1e3 if found else None


def operations(*, layers: int, hidden: int, feed_forward: int, tokens: int) -> float:
    """Billions of operations of one text in a transformer encoder's products of matrices.

    A layer has four linears of hidden x hidden, two of hidden x feed-forward, and the two products
    of attention, tokens x tokens x hidden; each multiplication with its addition counts as two.
    """
    linears = 4 * hidden * hidden + 2 * hidden * feed_forward
    attention = 2 * tokens * hidden
    return 2 * layers * tokens * (linears + attention) / 1e9


def measure(graph: Path, feeds: dict[str, np.ndarray], *, gop: float, peak: Peak) -> Point:
    """Time one run of a graph, and split it by operator.

    Args:
        graph: an ONNX file.
        feeds: one text's inputs, `(1, tokens)`.
        gop: billions of operations of the run.
        peak: to compare with.
    """
    session = _session(graph.read_bytes())
    shortest = min(_timed(session, feeds) for _ in range(_REPEATS))
    return Point(
        tokens=next(iter(feeds.values())).shape[1],
        operations=gop,
        ms=shortest * 1e3,
        share=gop / shortest / peak.measured,
        by_operator=_split(graph, feeds),
    )


def _timed(session: ort.InferenceSession, feeds: dict[str, np.ndarray]) -> float:
    start = time.perf_counter()
    session.run(None, feeds)
    return time.perf_counter() - start


def _split(graph: Path, feeds: dict[str, np.ndarray]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        session = _session(graph.read_bytes(), profile=Path(folder) / "profile")
        for _ in range(_REPEATS):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"]] += event["dur"]
    total = sum(times.values())
    return {name: spent / total for name, spent in times.most_common()}


def _session(content: bytes, profile: Path | None = None) -> ort.InferenceSession:
    """As the runtime makes it: one thread, the exported layout kept."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(
        content,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["SkipLayerNormFusion", "BiasGeluFusion"],
    )


def _gemm(kind: str) -> float:
    """Best rate of a large product in onnxruntime."""
    random = np.random.default_rng(0)
    if kind == "int8":
        weight = random.integers(-127, 127, (_SIZE, _SIZE), np.int8)
        node, dtype, out = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
        feed = random.integers(0, 255, (_SIZE, _SIZE), np.uint8)
        stored = helper.make_tensor("w", TensorProto.INT8, weight.shape, weight.tobytes(), raw=True)
    else:
        weight32 = random.standard_normal((_SIZE, _SIZE), np.float32)
        node, dtype, out = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
        feed = random.standard_normal((_SIZE, _SIZE), np.float32)
        stored = helper.make_tensor(
            "w", TensorProto.FLOAT, weight32.shape, weight32.tobytes(), raw=True
        )
    graph = helper.make_graph(
        [helper.make_node(node, ["x", "w"], ["y"])],
        "gemm",
        [helper.make_tensor_value_info("x", dtype, [_SIZE, _SIZE])],
        [helper.make_tensor_value_info("y", out, [_SIZE, _SIZE])],
        [stored],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = _session(model.SerializeToString())
    shortest = min(_timed(session, {"x": feed}) for _ in range(_REPEATS))
    return 2 * _SIZE**3 / shortest / 1e9


def _per_cycle(kind: str, flags: Sequence[str]) -> int:
    """Operations a cycle of one core, two units of the widest vectors that the flags tell of.

    int8: VNNI takes four products a 32-bit lane. fp32: one fused multiply-add a lane.
    """
    lanes = 16 if "avx512f" in flags else 8
    vnni = "avx512_vnni" in flags or "avx_vnni" in flags
    products = (4 if vnni else 2) if kind == "int8" else 1
    return 2 * lanes * products * 2
