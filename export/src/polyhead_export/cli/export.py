"""Make a bundle of a checkpoint: one ONNX graph with all heads, tokenizer and golden answers.

The checkpoint remembers its training and validation data: int8 ranges are measured on the former,
the figures of the manifest on the latter. --config names other data.

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
        "--probe", action="store_true", help="then time the layout alternatives on this CPU"
    )
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead export`."""
    if arguments.calibration_texts < 1:
        arguments.usage_error("--calibration-texts: expected at least 1")
    if arguments.probe and (arguments.json or arguments.precision != "int8"):
        arguments.usage_error("--probe: goes with int8 and without --json; see 'polyhead probe'")
    from polyhead.strict import plain
    from polyhead_export.export import Settings, export
    from polyhead_models import config

    manifest = export(
        arguments.checkpoint,
        arguments.output,
        Settings(
            precision=arguments.precision,
            calibration_texts=arguments.calibration_texts,
            seed=arguments.seed,
        ),
        config=config.load(arguments.config) if arguments.config else None,
        note=output.progress,
    )
    if arguments.json:
        output.write_json(plain(manifest))
        return 0
    if arguments.probe:
        from polyhead_export.cli import probe

        probe.run(arguments.output, tokens=[16, 128])
    output.write(
        output.table(
            ["head", "metric", "split", "PyTorch", "exported", "agreement"],
            [
                [name, q.metric, q.split, q.fp32, q.exported, q.agreement]
                for name, q in manifest.quality.items()
            ],
        )
    )
    graph = manifest.graphs[0]
    output.progress(f"bundle: {arguments.output} ({graph.file}, {graph.size / 1e6:.1f} MB)")
    return 0
