"""The script that writes the recipes' results."""

import json
import runpy
import sys
from pathlib import Path

from polyhead import load
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models.data import examples
from polyhead_models.evaluation import evaluate

SCRIPT = Path(__file__).parents[3] / "models" / "recipes" / "results.py"


def test_the_page_has_the_metrics_of_evaluate(
    trained, trained_config, learnt, tmp_path, monkeypatch
):
    page = tmp_path / "RESULTS.md"
    monkeypatch.setattr(sys, "argv", ["results.py", str(trained), "-o", str(page)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    found = evaluate(learnt.engine(), examples.load(trained_config, "test"))
    (recipe,) = json.loads(page.with_suffix(".json").read_text())["recipes"]
    assert {name: head["test"] for name, head in recipe["heads"].items()} == {
        name: metrics.figures for name, metrics in found.items()
    }
    by_words = recipe["heads"]["topic"]["baseline"]["accuracy"]
    row = f"| checkpoint | topic | accuracy | 1.0000 | {by_words:.4f} | 6 | 36 |"
    assert row in page.read_text().splitlines()


def test_a_baseline_is_left_out_where_it_takes_long(trained, tmp_path, monkeypatch):
    """And a recipe that is on the page already stays."""
    page = tmp_path / "RESULTS.md"
    written = Path(__file__).parents[3] / "models" / "recipes" / "RESULTS.json"
    found = json.loads(written.read_text(encoding="utf-8"))["recipes"]
    (kept,) = (each for each in found if each["recipe"] == "snips")
    page.with_suffix(".json").write_text(json.dumps({"recipes": [kept]}))
    words = ["results.py", str(trained), "-o", str(page), "--no-baseline", "checkpoint"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "| checkpoint | entities | f1 | 1.0000 | - | 6 | 36 |" in page.read_text().splitlines()
    assert "| snips | intent | accuracy | 0.9871 | 0.9714 | 700 | 13084 |" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["recipes"][1] == kept


def test_what_was_exported_stands_next_to_the_checkpoint(
    trained, trained_config, tmp_path, monkeypatch
):
    page, bundles = tmp_path / "RESULTS.md", tmp_path / "bundles"
    bundles.mkdir()
    export(trained, bundles / "checkpoint", ExportSettings(precision="fp32"))
    words = ["results.py", str(trained), "-o", str(page), "--bundles", str(bundles)]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(SCRIPT), run_name="__main__")
    found = evaluate(load(bundles / "checkpoint"), examples.load(trained_config, "test"))
    (recipe,) = json.loads(page.with_suffix(".json").read_text())["recipes"]
    assert {name: head["test"] for name, head in recipe["bundle"]["heads"].items()} == {
        name: metrics.figures for name, metrics in found.items()
    }
    start = "| checkpoint | topic | fp32 | accuracy | 1.0000 | 1.0000 | 0.00 | "
    assert [line for line in page.read_text().splitlines() if line.startswith(start)]


def test_a_head_that_shortens_stands_beside_what_it_is_held_against():
    names = runpy.run_path(str(SCRIPT))
    figures = dict.fromkeys(names["FIGURES"], 0.5)
    bounds = {
        start + figure: float(number)
        for number, start in enumerate(names["HELD_AGAINST"].values())
        for figure in figures
    }
    heads = {
        "other": {"kind": "summary.v1"},
        "it": {"kind": "compress.v1", "test": figures, "baseline": bounds},
        "alone": {"kind": "compress.v1", "test": figures, "baseline": None},
    }
    found = list(names["shorter_rows"]({"recipe": "r", "heads": heads}))
    assert [row[1:4] for row in found] == [
        ["it", "the head", 0.5],
        ["it", "first words", 0.0],
        ["it", "sentence by TF-IDF", 1.0],
        ["it", "best sentence", 2.0],
        ["it", "best words", 3.0],
        ["alone", "the head", 0.5],
    ]
    assert all(len(row) == len(names["SHORTER"]) for row in found)
