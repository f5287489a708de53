"""RESULTS.md and RESULTS.json: what checkpoints reach on their test splits, next to TF-IDF.

Each checkpoint is evaluated on the test split of the configuration that it remembers, and so is the
bundle of the same name that was exported from it. Recipes that are there already stay where they
are not given.

    python models/recipes/results.py checkpoints/* --bundles bundles -o models/recipes/RESULTS.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from polyhead import load
from polyhead.bundle import read
from polyhead.cli import output
from polyhead.system import cpu
from polyhead.system.schema import plain
from polyhead_models import checkpoint as checkpoints
from polyhead_models.baseline import baseline
from polyhead_models.checkpoint import LIBRARIES
from polyhead_models.data import examples as data
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import evaluate

PAGE = """\
# Results

Made by `python models/recipes/results.py`; `RESULTS.json` has all metrics. Test metrics are fp32.
The baseline is TF-IDF and a linear model of scikit-learn, trained on the same rows; for summaries,
the sentences whose TF-IDF vectors are nearest to the text's.

{metrics}

## Shorter versions

Heads that keep words of the text, and heads that write. ROUGE as F1, against the nearest of the
short texts; Chinese by characters. "First words" are as many as the head's limit. "Best sentence"
is the whole sentence that is nearest to a short text: nothing that is picked does better. "Best
words" are those that training would keep. `kept` is the share of the text's words.

{shorter}

## Exported

What `polyhead export` made without an option, on the same test rows. "Changed" are the validation
decisions that are not those of the fp32 model, near ties left out, in percent; "near ties" those
left out. The calibration error of scores (ECE, 15 bins) is before the export and after it, with the
temperature that was fitted on the validation rows.

{exported}

## Training

{training}

Seconds are those of the run, validation included, on the machine that trained.

## Made with

{machines}
"""
METRICS = ["recipe", "head", "metric", "test", "baseline", "test texts", "training texts"]
_SCORERS = ("scikit-learn", "seqeval", "rouge-score")
FIGURES = ("rouge1", "rouge2", "rougeL", "kept")
HELD_AGAINST = {
    "first words": "lead_",
    "sentence by TF-IDF": "",
    "best sentence": "sentence_",
    "best words": "oracle_",
}
SHORTER = ["recipe", "head", "what", *FIGURES]
EXPORTED = ["recipe", "head", "graph", "metric", "fp32", "exported"]
EXPORTED += ["changed %", "near ties", "gate", "ECE", "ECE after", "temperature"]
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
    parser.add_argument(
        "--bundles", type=Path, metavar="FOLDER", help="with bundles of their names"
    )
    arguments = parser.parse_args()
    file, found = arguments.output.with_suffix(".json"), {}
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))["recipes"]
        found = {each["recipe"]: each for each in before}
    for path in arguments.checkpoints:
        found[path.name] = recipe(
            path,
            compare=path.name not in arguments.no_baseline,
            bundle=arguments.bundles and arguments.bundles / path.name,
        )
    report = {"recipes": [found[name] for name in sorted(found)]}
    text = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")
    arguments.output.write_text(page(report), encoding="utf-8")


def recipe(path: Path, *, compare: bool, bundle: Path | None = None) -> dict[str, Any]:
    """One checkpoint: its training run, its heads on the test split, and what its bundle gives."""
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
        "bundle": exported(bundle, test) if bundle else None,
        "seconds": metrics["seconds"],
        "epochs": max(epochs, default=config.training.epochs),
        "best_epoch": metrics["best_epoch"],
        "precision": metrics["precision"],
        "seed": config.training.seed,
        "trained_with": plain(checkpoint.description.provenance),
        "evaluated_on": plain(cpu.describe()),
        "evaluated_with": {name: version(name) for name in (*LIBRARIES, *_SCORERS)},
    }


def exported(path: Path, test: Sequence[Example]) -> dict[str, Any]:
    """What a bundle answers to the test split, and what its export measured."""
    manifest = read(path).manifest
    with load(path) as engine:
        found = evaluate(engine, test, label=path.name)
    (graph, *_), gate = manifest.graphs, manifest.gate
    attempt = gate.attempts[gate.selected] if gate else None
    heads = {
        head: {
            "test": figures.figures,
            "quality": plain(manifest.quality[head]),
            "verdict": attempt and attempt.verdict(head),
            "temperature": manifest.heads[head].temperature,
            "reliability": plain(manifest.reliability.get(head)),
        }
        for head, figures in found.items()
    }
    attempts = [each.name for each in gate.attempts] if gate else []
    return {"precision": graph.precision, "attempts": attempts, "heads": heads}


def exported_rows(recipe: dict[str, Any]) -> Iterator[list[Any]]:
    """A row a head of the table of a recipe's bundle."""
    bundle = recipe["bundle"]
    for name, head in bundle["heads"].items() if bundle else ():
        quality, before = head["quality"], recipe["heads"][name]["test"]
        metric = recipe["heads"][name]["metric"]
        temperatures = head["temperature"] or ()
        ends = dict.fromkeys(f"{end(temperatures):.2f}" for end in (min, max) if temperatures)
        yield [
            *(recipe["recipe"], name, bundle["precision"], metric),
            *(before[metric], head["test"][metric], f"{100 * quality['changed']:.2f}"),
            *(quality["near_ties"], head["verdict"], before.get("ece"), head["test"].get("ece")),
            " to ".join(ends) or "-",
        ]


def shorter_rows(recipe: dict[str, Any]) -> Iterator[list[Any]]:
    """What a recipe's heads that shorten or write reach, and what they are held against."""
    for name, head in recipe["heads"].items():
        if head["kind"] in ("compress.v1", "generation.v1"):
            rows = {"the head": head["test"]}
            for what, start in HELD_AGAINST.items() if head["baseline"] else ():
                rows[what] = {each: head["baseline"][start + each] for each in FIGURES}
            for what, found in rows.items():
                yield [recipe["recipe"], name, what, *(found.get(each) for each in FIGURES)]


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
    machines: dict[str, list[str]] = {}
    for recipe in report["recipes"]:
        model, flags = recipe["evaluated_on"]["model"], recipe["evaluated_on"]["flags"]
        libraries = [f"{name} {number}" for name, number in recipe["evaluated_with"].items()]
        made = f"{model} ({', '.join(flags)}); {', '.join(libraries)}"
        machines.setdefault(made, []).append(recipe["recipe"])
    return PAGE.format(
        metrics=output.markdown_table(METRICS, metrics),
        shorter=output.markdown_table(
            SHORTER, [row for recipe in report["recipes"] for row in shorter_rows(recipe)]
        ),
        exported=output.markdown_table(
            EXPORTED, [row for recipe in report["recipes"] for row in exported_rows(recipe)]
        ),
        training=output.markdown_table(TRAINING, training),
        machines="\n".join(f"- {', '.join(names)}: {made}" for made, names in machines.items()),
    )


if __name__ == "__main__":
    main()
