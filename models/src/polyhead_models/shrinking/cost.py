"""What the parts of an encoder cost on this CPU, measured once and kept.

Each half of a layer is timed in several sizes, as a chain of a few copies through onnxruntime, at
lengths of the texts' own, on one thread. A copy's time is that of the chain, less that of a graph
without layers, over their number. Between two sizes it is nearly a straight line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import get_clock_info, perf_counter, thread_time

import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm

from polyhead.errors import PolyheadError
from polyhead.inference.options import DISABLED_OPTIMIZERS, cpu_session_options
from polyhead.system import atomic, cpu
from polyhead.system.onnx_runtime import ort
from polyhead.system.schema import parse, plain, read_json
from polyhead_models.errors import ShrinkError
from polyhead_models.shrinking.anatomy import EncoderShape
from polyhead_models.shrinking.timed_graph import INPUT, ROWS, encoder_graph

STEP = 64
"""Channels and neurons come in multiples: tiles of the kernels."""

_SIZES = 9  # of each half that are timed
_COPIES = 4
_ROUNDS, _FEWEST_ROUNDS, _ENOUGH = 15, 3, 20.0  # seconds; for texts of thousands of tokens
_QUANTILES = (1 / 6, 1 / 2, 5 / 6)
_LEAST = 1e-7  # seconds; noise may make a difference negative
_JSON_LIMIT = 2**20
# The thread's own time, where the system tells it finely: another program that takes the CPU for a
# moment would double a long run and miss a short one. Windows counts in steps of 16 ms.
_CLOCK = thread_time if get_clock_info("thread_time").resolution < 1e-5 else perf_counter


@dataclass(frozen=True, kw_only=True)
class LayerCosts:
    """Seconds for one text, a mean over lengths of the texts' own.

    Attributes:
        attention: by number of attention heads, of a layer's first half.
        ffn: by number of neurons, of its second half.
        rest: of embeddings and heads, which are there once.
    """

    attention: Mapping[int, float]
    ffn: Mapping[int, float]
    rest: float

    def seconds(self, shape: EncoderShape) -> float:
        """Of a whole graph."""
        layer = _at(self.attention, shape.attention_heads) + _at(self.ffn, shape.ffn)
        return self.rest + shape.layers * layer


def _at(times: Mapping[int, float], size: int) -> float:
    return float(np.interp(size, list(times), list(times.values())))


def ffn_sizes(most: int) -> list[int]:
    """Numbers of neurons that an FFN may be cut to, upward; `most` itself is the last."""
    return [*range(STEP, most, STEP), most]


def attention_sizes(most: int, head_size: int) -> list[int]:
    """Numbers of attention heads that a layer may be cut to, upward; `most` itself is the last."""
    return [*(n for n in range(1, most) if n * head_size % STEP == 0), most]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """All that a time depends on."""

    graphs: int = 1  # one more when they, or how they are timed, change
    onnxruntime: str
    cpu: str
    flags: tuple[str, ...]
    hidden: int
    head_size: int
    attention: tuple[int, ...]
    ffn: tuple[int, ...]
    heads: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The file: seconds in the order of what was asked."""

    asked: _Asked
    attention: tuple[float, ...]
    ffn: tuple[float, ...]
    rest: float

    def __post_init__(self) -> None:
        if min(*self.attention, *self.ffn, self.rest) <= 0:
            raise ValueError("a time that is not above 0")

    def costs(self) -> LayerCosts:
        attention = dict(zip(self.asked.attention, self.attention, strict=True))
        ffn = dict(zip(self.asked.ffn, self.ffn, strict=True))
        return LayerCosts(attention=attention, ffn=ffn, rest=self.rest)


def layer_costs(
    largest: EncoderShape, *, hidden: int, head_size: int, lengths: Sequence[int], heads: int = 1
) -> LayerCosts:
    """The costs of an encoder and of all that it can be cut to.

    They are kept in ``polyhead/costs`` in the user's cache (``XDG_CACHE_HOME``, ``~/.cache``), by
    all that they depend on. A file there that cannot be used is measured anew.

    Args:
        largest: the encoder's own shape; its number of layers does not matter.
        hidden: channels between the layers.
        head_size: channels of an attention head.
        lengths: tokens of each text, at least one; three of their quantiles are timed.
        heads: how many the model has; each is timed as a linear on all tokens.
    """
    here = cpu.describe()
    asked = _Asked(
        onnxruntime=ort.__version__,
        cpu=here.model,
        flags=here.flags,
        hidden=hidden,
        head_size=head_size,
        attention=_some(attention_sizes(largest.attention_heads, head_size)),
        ffn=_some(ffn_sizes(largest.ffn)),
        heads=heads,
        tokens=tuple(int(n) for n in np.quantile(lengths, _QUANTILES).round()),
    )
    digest = hashlib.sha256(json.dumps(plain(asked)).encode()).hexdigest()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    file = home / "polyhead" / "costs" / f"{digest[:16]}.json"
    with suppress(OSError, PolyheadError, ValueError):
        content = read_json(file, limit_bytes=_JSON_LIMIT, error=ShrinkError)
        found = parse(_Table, content, where=str(file), error=ShrinkError)
        if found.asked == asked:
            return found.costs()
    table = _measured(asked)
    with suppress(OSError):
        atomic.write(file, json.dumps(plain(table)))
    return table.costs()


def _some(sizes: Sequence[int]) -> tuple[int, ...]:
    """At most nine, evenly, with the first and the last."""
    places = np.linspace(0, len(sizes) - 1, min(len(sizes), _SIZES)).round()
    return tuple(sizes[int(place)] for place in places)


def _measured(asked: _Asked) -> _Table:
    sessions = [_session(model) for model in _graphs(asked)]
    texts = [np.arange(tokens)[None] % ROWS for tokens in asked.tokens]
    rounds: list[list[list[float]]] = []
    start = perf_counter()
    # Graph after graph in each round, so that another program's minute falls on all of them.
    for _ in tqdm(range(_ROUNDS), desc="costs of layers", unit="round", leave=False):
        rounds.append([[_seconds(session, ids) for session in sessions] for ids in texts])
        if len(rounds) >= _FEWEST_ROUNDS and perf_counter() - start > _ENOUGH:
            break
    rest, *chains = np.median(rounds, axis=0).mean(axis=0)
    copies = [max(float(chain - rest) / _COPIES, _LEAST) for chain in chains]
    count = len(asked.attention)
    attention, ffn = tuple(copies[:count]), tuple(copies[count:])
    return _Table(asked=asked, attention=attention, ffn=ffn, rest=float(rest))


def _graphs(asked: _Asked) -> list[onnx.ModelProto]:
    """One without layers, then chains of one half, then of the other."""
    make = partial(
        encoder_graph,
        hidden=asked.hidden,
        head_size=asked.head_size,
        tokens=max(asked.tokens),
        heads=asked.heads,
    )
    return [
        make(layers=0),
        *(make(layers=_COPIES, attention_heads=size) for size in asked.attention),
        *(make(layers=_COPIES, ffn=size) for size in asked.ffn),
    ]


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(
        model.SerializeToString(),
        cpu_session_options(),
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(DISABLED_OPTIMIZERS),
    )


def _seconds(session: ort.InferenceSession, ids: NDArray[np.int64]) -> float:
    """Of the second of two runs: the first finds other graphs' weights in the caches."""
    session.run(None, {INPUT: ids})
    start = _CLOCK()
    session.run(None, {INPUT: ids})
    return _CLOCK() - start
