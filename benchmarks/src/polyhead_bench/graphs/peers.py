"""Makes the graphs of a race, and the commands that time them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polyhead.bundle import Bundle, read
from polyhead.system import cpu
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench import environments
from polyhead_bench.errors import BenchError
from polyhead_bench.graphs import conventional, exporting, rivals
from polyhead_bench.graphs.answers import Reference, of_model

_OPENVINO = Path(__file__).parent.parent / "foreign" / "openvino_timer.py"
_ASKED = 8


@dataclass(frozen=True)
class Made:
    """Commands of the graphs that could be made, and why others could not; by name."""

    commands: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, make: Callable[[], list[str]]) -> None:
        """Add what `make` returns, or its fault."""
        try:
            self.commands[name] = make()
        except BenchError as fault:
            self.faults[name] = str(fault)


def minilm(model: Any, checkpoint: Path, bundle: Path, folder: Path, cache: Path) -> Made:
    """All rivals of a bundle.

    Args:
        model: of the checkpoint; set to eager attention.
        checkpoint: behind the bundle.
        bundle: whose first graph is int8 in the exact layout.
        folder: where the other graphs are written.
        cache: folder with the environments of Optimum and OpenVINO.
    """
    flags = cpu.describe().flags
    made = base(model, bundle, folder)
    source = folder / "unfused.onnx"

    def fp32() -> list[str]:
        target = folder / "fp32"
        exporting.measured(["export", checkpoint, "-o", target, "--precision", "fp32"])
        return timer(first_graph(target), "runtime")

    def optimum() -> list[str]:
        python = environments.python(cache, "optimum")
        configuration = rivals.optimum_configuration(flags)
        target = folder / "optimum.onnx"
        return timer(conventional.optimum(source, target, python, configuration), "plain")

    def openvino() -> list[str]:
        python = environments.python(cache, "openvino")
        np.savez(folder / "ids.npz", *golden_ids(read(bundle)))
        target = folder / "openvino.xml"
        conventional.openvino(source, target, python, folder / "ids.npz")
        return [str(python), str(_OPENVINO), str(target), "f32"]

    made.attempt("optimum-int8", optimum)
    made.attempt("openvino-int8", openvino)
    if "openvino-int8" in made.commands and rivals.has_bf16(flags):
        made.commands["openvino-int8-bf16"] = [*made.commands["openvino-int8"][:-1], "bf16"]
    made.attempt("polyhead-fp32", fp32)
    return made


def base(model: Any, bundle: Path, folder: Path) -> Made:
    """The bundle's own graph and the textbook's; leaves ``unfused.onnx`` in `folder`."""
    made = Made({rivals.OWN: timer(first_graph(bundle), "runtime")})
    source = conventional.unfused(model, folder / "unfused.onnx")
    config = model.encoder.config
    made.attempt(
        "ort-textbook",
        lambda: timer(
            conventional.textbook(
                source,
                folder / "textbook.onnx",
                layers=int(config.num_hidden_layers),
                heads=int(config.num_attention_heads),
                hidden=int(config.hidden_size),
            ),
            "plain",
        ),
    )
    return made


def timer(graph: Path, options: str) -> list[str]:
    """The command that times a graph in onnxruntime, see `polyhead_bench.graphs.timer`."""
    return [sys.executable, "-m", "polyhead_bench.graphs.timer", str(graph), options]


def first_graph(bundle: Path) -> Path:
    """The graph that a bundle runs."""
    found = read(bundle)
    return found.file(found.manifest.graphs[0])


def reference(model: Any, bundle: Path) -> Reference:
    """What PyTorch answers to golden texts of the bundle."""
    rows = golden_ids(read(bundle))
    return of_model(model, [row.tolist() for row in rows[:_ASKED]])


def golden_ids(bundle: Bundle) -> list[Any]:
    """Token ids of the golden texts that have any tokens, cut to what the encoder reads."""
    tokenizer = Tokenizer.from_file(bundle.file(bundle.manifest.tokenizer))
    texts = [example.input for example in bundle.golden().examples]
    rows = [e.ids[: bundle.manifest.encoder.max_tokens] for e in tokenizer.encode(texts)]
    return [row for row in rows if len(row) > 2]
