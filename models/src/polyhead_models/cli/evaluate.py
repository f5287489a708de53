"""Metrics of a checkpoint or a bundle on labelled data, through the same decoders.

Example:
  polyhead evaluate checkpoint/ config.toml --split test --baseline
  polyhead evaluate bundle/ config.toml --split test --json
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output

if TYPE_CHECKING:
    from polyhead import Engine, HeadSpec
    from polyhead_models.config import Config
    from polyhead_models.evaluation import HeadFigures


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
    parser.add_argument("--json", action="store_true", help="all metrics as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead evaluate`."""
    from polyhead_models import config as configuration
    from polyhead_models.data import examples as data
    from polyhead_models.errors import DataError
    from polyhead_models.evaluation import evaluate

    config = configuration.load(arguments.config)
    examples = data.load(config, arguments.split)
    if not examples:
        raise DataError(f"{arguments.config}: no source has a {arguments.split!r} split.")
    engine = _engine(arguments.model)
    _check_heads(config, engine.heads, arguments.config)
    labels = {name: spec.labels for name, spec in engine.heads.items()}
    examples = data.seen(config, examples, labels)
    found = evaluate(engine, examples, label=arguments.split)
    for head, metrics in found.items():
        if metrics.windowed:
            output.progress(
                f"{head}: {metrics.windowed} of {metrics.texts} texts are longer than the encoder"
                " reads and were read in windows"
            )
    baselines: dict[str, Mapping[str, float] | None] = {}
    if arguments.baseline:
        from polyhead_models.baseline import baseline

        train = data.load(config, "train")
        for head in found:
            output.progress(f"baseline of {head} …")
            baselines[head] = baseline(engine.heads[head].kind, head, train, examples)
    _show(arguments, found, baselines)
    return 0


def _check_heads(config: Config, heads: Mapping[str, HeadSpec], path: Path) -> None:
    from polyhead_models.errors import ConfigError

    for head, settings in config.heads.items():
        if head not in heads:
            output.progress(f"{head}: the model does not have this head; passed over")
        elif settings.versioned_kind != heads[head].kind:
            raise ConfigError(
                f"{path}: head {head!r}: kind {settings.kind!r}, but the model's head is a"
                f" {heads[head].kind}."
            )
        elif settings.input != heads[head].input:
            raise ConfigError(
                f"{path}: head {head!r}: 'text' names a {settings.input}, but the model's head"
                f" reads a {heads[head].input}."
            )


def _show(
    arguments: argparse.Namespace,
    found: Mapping[str, HeadFigures],
    baselines: Mapping[str, Mapping[str, float] | None],
) -> None:
    from polyhead.system.schema import plain

    if arguments.json:
        report = {"split": arguments.split, "heads": plain(found)}
        output.write_json({**report, **({"baseline": baselines} if baselines else {})})
        return
    header = ["head", "metric", arguments.split, "texts"]
    rows: list[list[object]] = [[h, f.metric, f.value, f.texts] for h, f in found.items()]
    if baselines:
        header.append("TF-IDF")
        for row, (head, metrics) in zip(rows, found.items(), strict=True):
            row.append((baselines[head] or {}).get(metrics.metric))
    output.write(output.table(header, rows))


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
