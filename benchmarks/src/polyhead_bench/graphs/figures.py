"""The figures that an export has to reach: speed, changed decisions, time and memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyhead.bundle import read
from polyhead.tokenizing import Tokenizer
from polyhead_bench import environments, statistics
from polyhead_bench import texts as asked
from polyhead_bench.checks import Check, at_most
from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.graphs import conventional
from polyhead_bench.graphs.race import Shape, race
from polyhead_bench.run import words_of
from polyhead_bench.statistics import Interval

SMALL: tuple[Shape, ...] = ((1, 16), (1, 64), (1, 128), (1, 256), (8, 128))
LARGE: tuple[Shape, ...] = ((1, 16), (1, 32), (1, 128))

Note = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        rounds: of each graph at each shape.
        large: whether a model of BERT-base's shape is exported and raced, too.
        cache: folder with the environments of Optimum and OpenVINO.
    """

    rounds: int = 9
    large: bool = True
    cache: Path = Path("build/peers")


def speed(
    checkpoint: Path, bundle: Path, sizes: Sizes, note: Note
) -> tuple[list[Check], dict[str, Any]]:
    """The bundle's graph against others of the same weights, one thread.

    Times include nothing but the graph. A peer that cannot be made is a row that says why.

    Args:
        checkpoint: behind the bundle.
        bundle: with an int8 graph in the exact layout.
        sizes: how much is measured.
        note: called with short remarks for whoever watches.
    """
    shapes = [s for s in SMALL if s[1] <= read(bundle).manifest.encoder.max_tokens]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        note("making the graphs to compare with")
        commands, faults = _graphs(checkpoint, bundle, folder, sizes)
        note(f"racing {', '.join(commands)}")
        times = race(commands, shapes, rounds=sizes.rounds)
    limits = {"ort-textbook": 0.70, "optimum-int8": 0.78, "openvino-int8": 1.0}
    checks = _against(times, limits, shapes, "MiniLM's shape")
    if (1, 128) in shapes:
        checks += _against(times, {"polyhead-fp32": 0.38}, [(1, 128)], "MiniLM's shape")
    checks += [
        Check(
            name=f"time against {peer}",
            found=None,
            limit=f"<= {limits[peer]:g}",
            passed=None,
            note=fault,
        )
        for peer, fault in faults.items()
    ]
    return checks, _plain(times)


def large(bundle: Path, sizes: Sizes, note: Note) -> tuple[list[Check], dict[str, Any]]:
    """A model of BERT-base's shape with random weights: export, and race against the textbook's.

    Args:
        bundle: whose tokenizer and words it is given.
        sizes: how much is measured.
        note: called with short remarks for whoever watches.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        note("making a model of BERT-base's shape")
        checkpoint, texts = _bert_base(folder, bundle)
        note("exporting it")
        words = ["export", checkpoint, "-o", folder / "bundle", "--texts", texts]
        seconds, peak = measured_export([*words, "--max-flips", "100"])
        checks = [
            at_most("export of a BERT-base-size model", seconds / 60, 10, "min"),
            at_most("its peak memory", peak / 2**30, 8, "GiB"),
        ]
        model = _model(checkpoint)
        fused = conventional.textbook(
            conventional.unfused(model, folder / "unfused.onnx"),
            folder / "textbook.onnx",
            **_dimensions(model),
        )
        commands = {
            "polyhead-int8": _timer(_graph(folder / "bundle"), "runtime"),
            "ort-textbook": _timer(fused, "plain"),
        }
        del model
        note("racing it")
        times = race(commands, LARGE, rounds=sizes.rounds)
    checks += _against(times, {"ort-textbook": 0.83}, LARGE, "BERT-base's shape")
    return checks, {"seconds": seconds, "peak_bytes": peak, **_plain(times)}


def decisions(
    checkpoint: Path, bundle: Path, limits: Mapping[str, float], note: Note
) -> tuple[list[Check], dict[str, Any]]:
    """Decisions on the test split that the bundle changes against PyTorch, in percent by head.

    Args:
        checkpoint: remembers its test split.
        bundle: exported from it.
        limits: percent by head; other heads are told without a limit.
        note: called with short remarks for whoever watches.
    """
    from polyhead import load
    from polyhead_models import checkpoint as checkpoints
    from polyhead_models.data import examples as data
    from polyhead_models.evaluation import inputs

    trained = checkpoints.load(checkpoint)
    texts = inputs(data.load(trained.description.config, "test"))
    note(f"{checkpoint.name}: asking both models {len(texts):,} test texts")
    before = trained.engine().predict(texts)
    with load(bundle) as engine:
        after = engine.predict(texts)
    checks, found = [], {}
    for head in trained.model.specs:
        pairs = [(a[head], b[head]) for a, b in zip(after, before, strict=True) if head in a]
        changed = sum(a.decision != b.decision for a, b in pairs)
        found[head] = {"texts": len(pairs), "changed": changed}
        percent = 100 * changed / len(pairs)
        name = f"{checkpoint.name}: decisions changed, {head}"
        note_ = f"{changed} of {len(pairs):,}"
        if head in limits:
            checks.append(at_most(name, percent, limits[head], "%", note_))
        else:
            checks.append(
                Check(
                    name=name,
                    found=f"{percent:.2f} %",
                    limit="",
                    passed=None,
                    note=f"{note_}; no limit",
                )
            )
    return checks, found


def drops(bundle: Path) -> list[Check]:
    """What each head of a bundle lost on its validation texts, as its manifest tells."""
    return [
        Check(
            name=f"{bundle.name}: drop of {head}",
            found=f"{quality.drop_text}",
            limit="<= 0.3 points, 0 inside the interval",
            passed=quality.drop <= 0.3 and _holds_zero(quality),
            note="",
        )
        for head, quality in read(bundle).manifest.quality.items()
        if quality.drop is not None
    ]


def measured_export(words: Sequence[object]) -> tuple[float, int]:
    """Seconds and peak bytes of a `polyhead` command in a process of its own.

    Raises:
        BenchError: when it fails; says what it printed last.
    """
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-m', 'polyhead', *sys.argv[1:]],"
        " stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(done.returncode)\n"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise BenchError(f"'polyhead {words[0]}' failed: {said[0]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, int(done.stdout) * unit


def _graphs(
    checkpoint: Path, bundle: Path, folder: Path, sizes: Sizes
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Commands of the graphs that could be made, and why the others could not."""
    commands = {"polyhead-int8": _timer(_graph(bundle), "runtime")}
    faults: dict[str, str] = {}
    manifest = read(bundle).manifest
    fp32 = folder / "fp32"
    measured_export(["export", checkpoint, "-o", fp32, "--precision", "fp32"])
    commands["polyhead-fp32"] = _timer(_graph(fp32), "runtime")
    model = _model(checkpoint)
    source = conventional.unfused(model, folder / "unfused.onnx")
    tokenizer = Tokenizer.from_file(read(bundle).file(manifest.tokenizer))
    golden = [example.input for example in read(bundle).golden().examples]
    rows = [e.ids[: manifest.encoder.max_tokens] for e in tokenizer.encode(golden)]
    np.savez(folder / "ids.npz", *[row for row in rows if len(row) > 2])

    def attempt(name: str, make: Callable[[], list[str]]) -> None:
        try:
            commands[name] = make()
        except PeerFault as fault:
            faults[name] = str(fault)

    def textbook() -> list[str]:
        target = folder / "textbook.onnx"
        return _timer(conventional.textbook(source, target, **_dimensions(model)), "plain")

    def optimum() -> list[str]:
        python = environments.python(sizes.cache, "optimum")
        return _timer(conventional.optimum(source, folder / "optimum.onnx", python), "plain")

    def openvino() -> list[str]:
        python = environments.python(sizes.cache, "openvino")
        target = folder / "openvino.xml"
        conventional.openvino(source, target, python, folder / "ids.npz")
        script = Path(__file__).parent.parent / "foreign" / "openvino_timer.py"
        return [str(python), str(script), str(target)]

    attempt("ort-textbook", textbook)
    attempt("optimum-int8", optimum)
    attempt("openvino-int8", openvino)
    return commands, faults


def _against(
    times: Mapping[str, Mapping[Shape, Sequence[float]]],
    limits: Mapping[str, float],
    shapes: Sequence[Shape],
    model: str,
) -> list[Check]:
    checks = []
    for peer, limit in limits.items():
        for shape in shapes if peer in times else ():
            found = statistics.ratio(times["polyhead-int8"][shape], times[peer][shape])
            name = f"{model} {shape[0]}x{shape[1]}, time against {peer}"
            checks.append(_ratio(name, found, limit))
    return checks


def _ratio(name: str, found: Interval, limit: float) -> Check:
    interval = f"95% interval {found.low:.2f} to {found.high:.2f}"
    return at_most(name, found.value, limit, "", interval)


def _timer(graph: Path, options: str) -> list[str]:
    return [sys.executable, "-m", "polyhead_bench.graphs.timer", str(graph), options]


def _graph(bundle: Path) -> Path:
    found = read(bundle)
    return found.file(found.manifest.graphs[0])


def _model(checkpoint: Path) -> Any:
    from polyhead_models import checkpoint as checkpoints

    return checkpoints.load(checkpoint).model


def _dimensions(model: Any) -> dict[str, int]:
    config = model.encoder.config
    return {
        "layers": int(config.num_hidden_layers),
        "heads": int(config.num_attention_heads),
        "hidden": int(config.hidden_size),
    }


def _holds_zero(quality: Any) -> bool:
    interval = quality.drop_interval
    return interval is not None and interval[0] <= 0


def _plain(times: Mapping[str, Mapping[Shape, Sequence[float]]]) -> dict[str, Any]:
    return {
        name: {f"{batch}x{tokens}": list(ms) for (batch, tokens), ms in by_shape.items()}
        for name, by_shape in times.items()
    }


def _bert_base(folder: Path, bundle: Path) -> tuple[Path, Path]:
    """A checkpoint of a random BERT of 110 million parameters, and texts to calibrate with."""
    import torch
    import transformers

    known = read(bundle)
    tokenizer_file = known.file(known.manifest.tokenizer)
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False)
    model.save_pretrained(folder / "bert")
    shutil.copy(tokenizer_file, folder / "bert" / "tokenizer.json")
    measured_export(["import", folder / "bert", "-o", folder / "checkpoint"])
    tokenizer = Tokenizer.from_file(tokenizer_file)
    words = words_of(asked.golden(known, tokenizer))
    made = asked.mixed(words, tokenizer, count=128, mean=28, longest=256, seed=0)
    lines = [json.dumps({"text": text}) for text in made.inputs]
    (folder / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "checkpoint", folder / "texts.jsonl"
