"""Make a bundle of a checkpoint: one ONNX graph with all heads, tokenizer and golden answers.

The checkpoint remembers its training and validation data: int8 ranges are measured on the former,
the figures of the manifest on the latter. --config names other data.

Gate: on the validation texts, the figure of a head may be at most --max-drop points (0.5 is 0.005
of an accuracy) below the PyTorch model's, and at most --max-flips percent of its decisions may
differ. The measured values count; 95% intervals are shown beside them. A head without references,
or one that is no better than chance in PyTorch, goes by its decisions alone. A decision is a text's
label, answer or summary, a span of `tokens`, a label of `multilabel`; for embeddings the share is 1
minus the mean cosine, for numbers 1 minus the concordance. Where static int8 is beyond a limit, the
worst linears get a scale a row, then the worst of them stay in float. If nothing helps: exit
code 1, a table of what was tried, and an older bundle is left as it is.

Example:
  polyhead export checkpoint/ -o bundle/ --precision int8
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead export`."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument(
        "--precision", choices=["fp32", "int8"], default="int8", help="of the encoder (int8)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG.toml", help="take the texts from this configuration"
    )
    parser.add_argument(
        "--calibration-texts", type=int, default=256, metavar="N", help="for int8 ranges (256)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample of texts (0)")
    parser.add_argument(
        "--max-drop", type=float, default=0.5, metavar="POINTS", help="of a head's figure (0.5)"
    )
    parser.add_argument(
        "--max-flips", type=float, default=1.0, metavar="PERCENT", help="of its decisions (1.0)"
    )
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead export`."""
    if arguments.calibration_texts < 1:
        arguments.usage_error("--calibration-texts: expected at least 1")
    if not arguments.max_drop >= 0:
        arguments.usage_error("--max-drop: expected points, at least 0")
    if not 0 <= arguments.max_flips <= 100:
        arguments.usage_error("--max-flips: expected percent, 0 to 100")
    from polyhead.strict import plain
    from polyhead_export.export import Settings, export
    from polyhead_export.gate import Limits
    from polyhead_models import config

    manifest = export(
        arguments.checkpoint,
        arguments.output,
        Settings(
            precision=arguments.precision,
            calibration_texts=arguments.calibration_texts,
            seed=arguments.seed,
            limits=Limits(max_drop=arguments.max_drop, max_flips=arguments.max_flips),
        ),
        config=config.load(arguments.config) if arguments.config else None,
        note=output.progress,
    )
    if arguments.json:
        output.write_json(plain(manifest))
        return 0
    output.write(
        output.table(
            ["head", "metric", "split", "PyTorch", "exported", "drop (95% interval)", "changed %"],
            [
                [
                    *(name, q.metric, q.split, q.fp32, q.exported, q.drop_text),
                    None if q.changed is None else 100 * q.changed,
                ]
                for name, q in manifest.quality.items()
            ],
        )
    )
    graph = manifest.graphs[0]
    output.progress(f"bundle: {arguments.output} ({graph.file}, {graph.size / 1e6:.1f} MB)")
    return 0
