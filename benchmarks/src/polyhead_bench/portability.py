"""Do other engines give the decisions of a bundle?

Started as ``python -m polyhead_bench.portability BUNDLE TEXTS``. TEXTS has one text a line. The
bundle needs an int8 graph in standard ONNX: `polyhead export --also onnx`. OpenVINO's environment
is made by `polyhead bench setup openvino`; `--cache` names the folder of environments.

With ``--engine cuda`` it is the bundle's graph for CUDA (`--also cuda`), in this environment, which
then needs onnxruntime-gpu in place of onnxruntime.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyhead import load
from polyhead.bundle import Graph, read
from polyhead.cli import output
from polyhead.errors import PolyheadError
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding, Input
from polyhead_bench import environments
from polyhead_bench.errors import BenchError

_SCRIPTS = Path(__file__).parent / "foreign"
_GPU_TOKENS = 4096


@dataclass(frozen=True)
class Agreement:
    """One head, answered by two engines.

    Attributes:
        head: its name.
        texts: how many were answered.
        same: how many of them have the same decision.
        max_error: largest absolute difference of a logit.
    """

    head: str
    texts: int
    same: int
    max_error: float


def run_peer(python: Path, script: str, *words: str | Path) -> None:
    """Run a script of `polyhead_bench.foreign` in a peer's environment.

    Raises:
        BenchError: when it fails; says what it printed last.
    """
    command = [str(python), str(_SCRIPTS / f"{script}.py"), *map(str, words)]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise BenchError(f"{script} ended with code {done.returncode}: {' '.join(said)}")


def openvino(bundle: Path, texts: Sequence[Input], python: Path) -> list[Agreement]:
    """The bundle's first graph in onnxruntime against its standard graph in OpenVINO.

    Args:
        bundle: with an exact graph in standard ONNX.
        texts: what the heads read; texts of several windows are left out.
        python: of an environment with OpenVINO.

    Raises:
        BenchError: when the bundle has no such graph, or OpenVINO fails.
    """
    found = read(bundle)
    graph = _standard(found.manifest.graphs, bundle)
    with load(bundle, threads=1) as engine:
        encodings = [e for e in engine.encode(texts) if len(e.starts) == 1]
        own = engine.logits([e.input for e in encodings])
    with tempfile.TemporaryDirectory() as scratch:
        feeds, logits = Path(scratch) / "feeds.npz", Path(scratch) / "logits.npz"
        arrays = {
            f"{i}/{k}": v for i, e in enumerate(encodings) for k, v in e.feeds(graph.inputs).items()
        }
        np.savez(feeds, **arrays)  # type: ignore[arg-type]
        run_peer(python, "openvino_logits", found.file(graph), feeds, logits)
        with np.load(logits) as saved:
            theirs = {name: saved[name] for name in saved.files}
    others = {
        head: [
            theirs[f"{i}/{spec.output}"][0] if e.kind == spec.input else None
            for i, e in enumerate(encodings)
        ]
        for head, spec in found.manifest.heads.items()
    }
    return _agreements(found.manifest.heads, encodings, own, others)


def cuda(bundle: Path, texts: Sequence[Input]) -> list[Agreement]:
    """The bundle's first graph on the CPU against its graph for CUDA, in padded groups.

    Args:
        bundle: with a graph for CUDA.
        texts: what the heads read; texts of several windows are left out.

    Raises:
        ProviderUnavailable: when CUDA or the graph is not there.
    """
    with load(bundle) as engine:
        encodings = [e for e in engine.encode(texts) if len(e.starts) == 1]
        inputs = [e.input for e in encodings]
        own, specs = engine.logits(inputs), engine.heads
    with load(bundle, provider="cuda", batch_tokens=_GPU_TOKENS) as engine:
        theirs = engine.logits(inputs)
    return _agreements(specs, encodings, own, theirs)


def _agreements(
    specs: Mapping[str, HeadSpec],
    encodings: Sequence[Encoding],
    own: Mapping[str, Sequence[NDArray[np.float32]]],
    theirs: Mapping[str, Sequence[NDArray[np.float32] | None]],
) -> list[Agreement]:
    agreements = []
    for head, spec in specs.items():
        face = decoder(head, spec)
        rows = [i for i, e in enumerate(encodings) if e.kind == spec.input]
        pairs = [(own[head][i], np.asarray(theirs[head][i])) for i in rows]
        same = sum(
            face.decode(a, encodings[i]).decision == face.decode(b, encodings[i]).decision
            for i, (a, b) in zip(rows, pairs, strict=True)
        )
        errors = [float(np.abs(a - b).max(initial=0.0)) for a, b in pairs]
        agreements.append(Agreement(head, len(rows), same, max(errors, default=0.0)))
    return agreements


def _standard(graphs: Sequence[Graph], bundle: Path) -> Graph:
    for graph in graphs:
        if (graph.layout, graph.target) == ("exact", "onnx"):
            return graph
    raise BenchError(
        f"{bundle}: no exact graph in standard ONNX. Export it with 'polyhead export --also onnx'."
    )


def main(words: Sequence[str]) -> int:
    """Print a table; 1 when nothing could be compared."""
    parser = argparse.ArgumentParser(prog="python -m polyhead_bench.portability")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--engine", choices=["openvino", "cuda"], default="openvino")
    parser.add_argument("--cache", type=Path, default=Path("build/peers"))
    asked = parser.parse_args(words)
    try:
        lines = asked.texts.read_text(encoding="utf-8").splitlines()
        if asked.engine == "cuda":
            found = cuda(asked.bundle, lines)
        else:
            found = openvino(asked.bundle, lines, environments.python(asked.cache, "openvino"))
    except PolyheadError as problem:
        output.progress(f"portability: {problem}")
        return 1
    rows = [[a.head, a.texts, a.texts - a.same, a.max_error] for a in found]
    output.write(output.table(["head", "texts", "decisions changed", "logit error"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
