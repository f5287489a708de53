"""RESULTS.md and RESULTS.json: what checkpoints reach on their test splits, next to TF-IDF.

Each checkpoint is evaluated on the test split of the configuration that it remembers.

    python models/recipes/results.py checkpoints/* -o models/recipes/RESULTS.md
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from polyhead.cli import output
from polyhead.system import cpu
from polyhead.system.schema import plain
from polyhead_models import checkpoint as checkpoints
from polyhead_models.baseline import baseline
from polyhead_models.checkpoint import LIBRARIES
from polyhead_models.data import examples as data
from polyhead_models.evaluation import evaluate

PAGE = """\
# Results

Made by `python models/recipes/results.py`; `RESULTS.json` has all metrics. Test metrics are fp32.
The baseline is TF-IDF and a linear model of scikit-learn, trained on the same rows; for summaries,
the sentences whose TF-IDF vectors are nearest to the text's.

{metrics}

## Training

{training}

Seconds are those of the run, validation included, on the machine that trained.

## Made with

- metrics: {cpu}; {libraries}
"""
METRICS = ["recipe", "head", "metric", "test", "baseline", "test texts", "training texts"]
TRAINING = ["recipe", "encoder", "seconds", "epochs", "best epoch", "precision", "seed"]


def main() -> None:
    """Evaluate the checkpoints and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PAGE.md")
    parser.add_argument(
        "--no-baseline",
        action="append",
        default=[],
        metavar="NAME",
        help="a checkpoint whose TF-IDF would take long, such as tags on many words",
    )
    arguments = parser.parse_args()
    report = {
        "recipes": [
            recipe(path, compare=path.name not in arguments.no_baseline)
            for path in sorted(arguments.checkpoints)
        ],
        "cpu": plain(cpu.describe()),
        "evaluated_with": {
            name: version(name) for name in (*LIBRARIES, "scikit-learn", "seqeval", "rouge-score")
        },
    }
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
    arguments.output.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    arguments.output.write_text(page(report), encoding="utf-8")


def recipe(path: Path, *, compare: bool) -> dict[str, Any]:
    """One checkpoint: its training run, and its heads on the test split."""
    checkpoint, metrics = checkpoints.load(path), checkpoints.metrics(path)
    config, engine = checkpoint.description.config, checkpoint.engine()
    train, test = data.load(config, "train"), data.load(config, "test")
    test = data.seen(config, test, {head: spec.labels for head, spec in engine.heads.items()})
    heads = {}
    for head, found in evaluate(engine, test, label=path.name).items():
        output.progress(f"{path.name}: {head}: {found.metric} {found.value:.4f}")
        kind = engine.heads[head].kind
        heads[head] = {
            "kind": kind,
            "metric": found.metric,
            "test": found.figures,
            "validation": metrics["validation"].get(head, {}).get("figures"),
            "baseline": baseline(kind, head, train, test) if compare else None,
            "test_texts": found.texts,
            "windowed": found.windowed,
            "training_texts": sum(head in example.references for example in train),
        }
    epochs = [entry["epoch"] for entry in metrics["history"]]
    return {
        "recipe": path.name,
        "encoder": config.encoder.name,
        "heads": heads,
        "seconds": metrics["seconds"],
        "epochs": max(epochs, default=config.training.epochs),
        "best_epoch": metrics["best_epoch"],
        "precision": metrics["precision"],
        "seed": config.training.seed,
        "trained_with": plain(checkpoint.description.provenance),
    }


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    metrics = [
        [
            *(recipe["recipe"], name, head["metric"], head["test"][head["metric"]]),
            head["baseline"] and head["baseline"][head["metric"]],
            *(head["test_texts"], head["training_texts"]),
        ]
        for recipe in report["recipes"]
        for name, head in recipe["heads"].items()
    ]
    training = [
        [
            *(recipe["recipe"], recipe["encoder"], round(recipe["seconds"])),
            *(recipe[key] for key in ("epochs", "best_epoch", "precision", "seed")),
        ]
        for recipe in report["recipes"]
    ]
    libraries = [f"{name} {number}" for name, number in report["evaluated_with"].items()]
    return PAGE.format(
        metrics=output.markdown_table(METRICS, metrics),
        training=output.markdown_table(TRAINING, training),
        cpu=f"{report['cpu']['model']} ({', '.join(report['cpu']['flags'])})",
        libraries=", ".join(libraries),
    )


if __name__ == "__main__":
    main()
