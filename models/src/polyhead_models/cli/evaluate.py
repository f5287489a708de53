"""Figures of a checkpoint or a bundle on labelled data, through the same decoders.

Example:
  polyhead evaluate checkpoint/ config.toml --split test --baseline
  polyhead evaluate bundle/ config.toml --split test --json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output

if TYPE_CHECKING:
    from polyhead import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead evaluate`."""
    parser.add_argument("model", type=Path, metavar="CHECKPOINT_OR_BUNDLE")
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument(
        "--split", choices=["train", "validation", "test"], default="test", help="(test)"
    )
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="also what TF-IDF and a linear model reach, trained on the training split",
    )
    parser.add_argument("--json", action="store_true", help="all figures as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead evaluate`."""
    from polyhead.system.schema import plain
    from polyhead_models import config as configuration
    from polyhead_models.baseline import baseline
    from polyhead_models.data import examples as data
    from polyhead_models.errors import ConfigError, DataError
    from polyhead_models.evaluation import evaluate

    config = configuration.load(arguments.config)
    examples = data.load(config, arguments.split)
    if not examples:
        raise DataError(f"{arguments.config}: no source has a {arguments.split!r} split.")
    engine = _engine(arguments.model)
    for head, settings in config.heads.items():
        if head not in engine.heads:
            output.progress(f"{head}: the model has no such head; passed over")
        elif settings.versioned_kind != engine.heads[head].kind:
            raise ConfigError(
                f"{arguments.config}: head {head!r}: kind {settings.kind!r}, but the model's head"
                f" is a {engine.heads[head].kind}."
            )
        elif settings.input != engine.heads[head].input:
            raise ConfigError(
                f"{arguments.config}: head {head!r}: 'text' names a {settings.input}, but the"
                f" model's head reads a {engine.heads[head].input}."
            )
    data.check(config, examples, {name: spec.labels for name, spec in engine.heads.items()})
    found = evaluate(engine, examples, label=str(arguments.split))
    for head, figures in found.items():
        if figures.windowed:
            output.progress(
                f"{head}: {figures.windowed} of {figures.texts} texts are longer than the encoder"
                " reads and were read in windows"
            )
    compared = {}
    if arguments.baseline:
        train = data.load(config, "train")
        for head in found:
            output.progress(f"baseline of {head} …")
            compared[head] = baseline(engine.heads[head].kind, head, train, examples)
    if arguments.json:
        report = {"split": arguments.split, "heads": plain(found)}
        output.write_json({**report, **({"baseline": compared} if compared else {})})
        return 0
    header = ["head", "metric", str(arguments.split), "texts"]
    rows: list[list[object]] = [[h, f.metric, f.value, f.texts] for h, f in found.items()]
    if compared:
        header.append("TF-IDF")
        for row in rows:
            row.append((compared[str(row[0])] or {}).get(str(row[1])))
    output.write(output.table(header, rows))
    return 0


def _engine(path: Path) -> Engine:
    from polyhead import BundleNotFound, load
    from polyhead.bundle import is_bundle
    from polyhead_models import checkpoint

    if is_bundle(path):
        return load(path)
    if checkpoint.is_checkpoint(path):
        return checkpoint.load(path).engine()
    raise BundleNotFound(
        f"{path}: neither a checkpoint (polyhead.json) nor a bundle (manifest.json) is here."
    )
