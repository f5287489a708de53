"""Make a bundle of a checkpoint: one ONNX graph with all heads, tokenizer and golden answers.

The checkpoint remembers its training and validation data: int8 ranges are measured on the former,
the metrics of the manifest on the latter. --config names other data. A checkpoint that was imported
remembers none: --texts names a file of texts such as it will read, a JSON line or, in a .txt, a
line each. Half of them calibrate; on the others the graph's decisions are held against PyTorch's.

Gate: on the validation texts, the metric of a head may be at most --max-drop points (0.5 is 0.005
of an accuracy) below the PyTorch model's, and at most --max-flips percent of its decisions may
differ. A head fails when a lower 95% confidence bound is beyond its limit, passes when the upper
bounds are within, and is uncertain otherwise, as with few texts. Where PyTorch's first two choices
are closer than --tie-margin, a decision is a near tie: it is counted by itself and fails no head. A
head without references, or one that is no better than chance in PyTorch, goes by its decisions
alone. A decision is a text's label, answer or summary, a span of `tokens`, a label of `multilabel`;
an embedding is changed below a cosine of 0.99, of the texts and of their first word or two; for
numbers the share is 1 minus the concordance.

Where static int8 loses too much, some linears get a scale a row; then those that change most
decisions stay in float. The first graph within the limits is taken, or else the best in which no
head fails. If there is none, --precision auto takes fp32; --precision int8 ends with exit code 1, a
table of what was tried and the flags that take the nearest, and an older bundle is left as it is.

--also adds graphs to the bundle, next to the exact one that the CPU runs: "fp32" is the graph in
float, for CPUs on which int8 is slower (polyhead.load(…, precision="fp32")); "onnx" the int8 graph
in standard ONNX, which OpenVINO and others read; "padded" an fp32 graph with the input
attention_mask; "cuda" an fp16 graph with it, for onnxruntime's CUDA provider (compared with PyTorch
on the CPU, not measured on a GPU). --also-heads adds a graph with some heads only. Each graph holds
its own weights.

--calibrated-as keeps the quantisation of a deployed int8 bundle for a checkpoint that has further
heads over the same frozen encoder: the bundle holds its ranges, smoothing and plan, and the logits
of its heads have to stay the same to the bit. Where a new head is beyond the limits so, nothing is
written.

--format optimum writes one head as a folder for Optimum's ORTModelForSequenceClassification or
ORTModelForTokenClassification instead of a bundle: fp32, with attention_mask. It needs no data.

--format triton writes a model for the repository of a Triton server, models/NAME/ say: config.pbtxt
and, in 1/, the bundle and what the server's Python backend runs. The inputs are TEXT, and QUERY for
pairs; the outputs are the columns of Prediction.to_row. Heads of one kind of input only.

Examples:
  polyhead export checkpoint/ -o bundle/
  polyhead export checkpoint/ -o bundle/ --heads intent,slots --also-heads intent --also padded,cuda
  polyhead export checkpoint/ -o folder/ --format optimum --heads sentiment
  polyhead export checkpoint/ -o models/support --format triton
  polyhead export next/ -o bundle-2/ --calibrated-as bundle/
  polyhead export imported/ -o bundle/ --texts texts.jsonl --field question,context
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.bundle.digest import with_digest
from polyhead.cli import output
from polyhead.errors import nearest

if TYPE_CHECKING:
    from polyhead.bundle import Manifest
    from polyhead_export.settings import ExportSettings

_ALSO = ("fp32", "onnx", "padded", "cuda")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead export`."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE")
    _add_quantisation(parser)
    _add_graphs(parser)
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run the Python code of an encoder outside transformers",
    )
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")
    parser.set_defaults(usage_error=parser.error)


def _add_quantisation(parser: argparse.ArgumentParser) -> None:
    """Precision, the texts that it is measured on, and what it may cost."""
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "int8"],
        default="auto",
        help="of the encoder; auto: int8, or fp32 where a head fails in it (auto)",
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--texts", type=Path, metavar="FILE", help="take texts without targets from this file"
    )
    data.add_argument(
        "--config", type=Path, metavar="CONFIG.toml", help="take the texts from this configuration"
    )
    parser.add_argument(
        "--field", default="text", metavar="KEY", help="of --texts: key of the text; two for a pair"
    )
    parser.add_argument(
        "--calibration-texts", type=int, default=256, metavar="N", help="for int8 ranges (256)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample of texts (0)")
    parser.add_argument(
        "--calibrated-as", type=Path, metavar="BUNDLE", help="keep this bundle's int8 for its heads"
    )
    parser.add_argument(
        "--max-drop", type=float, default=0.5, metavar="POINTS", help="of a head's metric (0.5)"
    )
    parser.add_argument(
        "--max-flips", type=float, default=1.0, metavar="PERCENT", help="of its decisions (1.0)"
    )
    parser.add_argument(
        "--tie-margin",
        type=float,
        default=0.05,
        metavar="PROBABILITY",
        help="decisions closer than this are near ties (0.05)",
    )


def _add_graphs(parser: argparse.ArgumentParser) -> None:
    """Which graphs are written, and in what form."""
    parser.add_argument(
        "--heads",
        type=_names,
        action="extend",
        default=[],
        metavar="NAME[,NAME…]",
        help="export these heads only, and the layers up to the deepest that they read (all)",
    )
    parser.add_argument(
        "--also-heads",
        type=_names,
        action="append",
        default=[],
        metavar="NAME[,NAME…]",
        help="add a graph with these heads only; may be given several times",
    )
    parser.add_argument(
        "--also",
        type=_variants,
        action="extend",
        default=[],
        metavar="GRAPH[,GRAPH…]",
        help=f"add graphs: {', '.join(_ALSO)}",
    )
    parser.add_argument(
        "--target",
        choices=["ort-cpu", "onnx"],
        default="ort-cpu",
        help="of an int8 graph: onnxruntime's CPU provider, or standard ONNX only (ort-cpu)",
    )
    parser.add_argument(
        "--format",
        choices=["bundle", "optimum", "triton"],
        default="bundle",
        help="what to write (bundle)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead export`."""
    _check(arguments)
    if arguments.format == "optimum":
        return _optimum(arguments)
    from polyhead_export.pipeline import export
    from polyhead_export.texts import read_file
    from polyhead_export.triton import folder
    from polyhead_models import config

    write = folder.write if arguments.format == "triton" else export
    manifest = write(
        arguments.checkpoint,
        arguments.output,
        _settings(arguments),
        config=config.load(arguments.config) if arguments.config else None,
        examples=read_file(arguments.texts, arguments.field) if arguments.texts else None,
    )
    _show(manifest, arguments.output, as_json=arguments.json)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.calibration_texts < 1:
        arguments.usage_error("--calibration-texts: expected at least 1")
    if not arguments.max_drop >= 0:
        arguments.usage_error("--max-drop: expected points, at least 0")
    if not 0 <= arguments.max_flips <= 100:
        arguments.usage_error("--max-flips: expected percent, 0 to 100")
    if not 0 <= arguments.tie_margin <= 1:
        arguments.usage_error("--tie-margin: expected a probability, 0 to 1")
    if arguments.calibrated_as is not None and arguments.precision == "fp32":
        arguments.usage_error("--calibrated-as: does not go with --precision fp32")


def _settings(arguments: argparse.Namespace) -> ExportSettings:
    from polyhead_export.gate import Limits
    from polyhead_export.settings import ExportSettings

    return ExportSettings(
        precision=arguments.precision,
        calibration_texts=arguments.calibration_texts,
        seed=arguments.seed,
        heads=tuple(arguments.heads),
        target=arguments.target,
        also=tuple(arguments.also),
        also_heads=tuple(arguments.also_heads),
        limits=Limits(
            max_drop=arguments.max_drop,
            max_flips=arguments.max_flips,
            tie_margin=arguments.tie_margin,
        ),
        trust_remote_code=arguments.trust_remote_code,
        calibrated_as=arguments.calibrated_as,
    )


def _show(manifest: Manifest, target: Path, *, as_json: bool) -> None:
    from polyhead.system.schema import plain

    if as_json:
        output.write_json(with_digest(plain(manifest)))
        return
    header = ["head", "metric", "split", "PyTorch", "exported", "drop (95% bounds)"]
    header += ["changed (95% bounds)", "near ties", "verdict"]
    attempt = manifest.gate.attempt if manifest.gate is not None else None
    rows = [
        [
            *(name, q.metric, q.split, q.fp32, q.exported, q.drop_text),
            *(q.changed_text, q.near_ties_text, attempt and attempt.verdict(name)),
        ]
        for name, q in manifest.quality.items()
    ]
    output.write(output.table(header, rows))
    files = ", ".join(f"{graph.file}, {graph.size / 1e6:.1f} MB" for graph in manifest.graphs)
    output.progress(f"bundle: {target} ({files})")


def _optimum(arguments: argparse.Namespace) -> int:
    given = {
        "--also": arguments.also,
        "--also-heads": arguments.also_heads,
        "--calibrated-as": arguments.calibrated_as,
        "--config": arguments.config,
        "--json": arguments.json,
        "--target onnx": arguments.target != "ort-cpu",
        "--texts": arguments.texts,
    }
    if found := [name for name, value in given.items() if value]:
        arguments.usage_error(f"--format optimum: {', '.join(found)}: only for bundles")
    from polyhead_export import optimum_folder

    loader = optimum_folder.write(arguments.checkpoint, arguments.output, arguments.heads)
    output.progress(f"{loader}: {arguments.output}")
    return 0


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected names with commas between")
    return names


def _variants(text: str) -> tuple[str, ...]:
    names = _names(text)
    if unknown := [name for name in names if name not in _ALSO]:
        raise argparse.ArgumentTypeError(
            f"found {unknown[0]!r}, allowed: {', '.join(_ALSO)}.{nearest(unknown[0], _ALSO)}"
        )
    return names
