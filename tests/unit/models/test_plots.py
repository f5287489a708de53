import io
import json

import numpy as np
import pytest
from PIL import Image

from polyhead.heads import Classification
from polyhead_models import config, plots
from polyhead_models.metrics.labels import label_report
from polyhead_models.training import train

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def history(epochs=3, heads=("topic",), *, watched=True):
    entries = [{"epoch": n, "loss": 1 / n} for n in range(1, epochs + 1)]
    for entry in entries if watched else ():
        figures = {"metric": "accuracy", "value": 0.02 * entry["epoch"]}
        entry["validation"] = dict.fromkeys(heads, figures)
    return entries


def pixels(png):
    """The picture as `(height, width, 3)`, of which something is drawn."""
    assert png.startswith(SIGNATURE)
    found = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert len(np.unique(found.reshape(-1, 3), axis=0)) > 10
    return found


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(history(1), id="one_epoch"),
        pytest.param(history(50, ("topic", "entities")), id="many_epochs"),
        pytest.param(history(3, [f"_head-{i}" for i in range(12)]), id="more_heads_than_colours"),
        pytest.param(history(watched=False), id="no_validation"),
        pytest.param([{"epoch": 1}, *history()[1:]], id="an_epoch_without_figures"),
    ],
)
def test_learning_curves_are_drawn(entries):
    pixels(plots.learning_curves(entries, best_epoch=1))


LABELS = [
    pytest.param(["a"], id="one_label"),
    pytest.param([f"label {i}" for i in range(150)], id="many_labels"),
    pytest.param(["$x$ $", "two\nlines", "|", "_a", "x" * 300], id="odd_labels"),
    pytest.param([], id="no_label"),
]


@pytest.mark.parametrize("names", LABELS)
def test_labels_are_drawn(names):
    results = [Classification(name, 1.0, {}) for name in names]
    report = label_report(names, results, names[1:] + names[:1])
    one = pixels(plots.labels({"topic": report}))
    two = pixels(plots.labels({"topic": report, "$_$": report}))
    assert one.shape[1] == two.shape[1] == 11 * 120
    assert two.shape[0] > 1.9 * one.shape[0]


def test_without_validation_there_is_one_panel():
    widths = [
        pixels(plots.learning_curves(history(watched=watched), best_epoch=1)).shape[1]
        for watched in (True, False)
    ]
    assert widths[0] > 1.5 * widths[1]


def test_each_head_has_a_line_of_its_own():
    one, two = (
        pixels(plots.learning_curves(history(3, heads), best_epoch=1))
        for heads in (("topic",), ("topic", "entities"))
    )
    assert one.shape == two.shape
    assert (one != two).any()


def test_a_picture_is_the_same_again():
    pictures = {plots.learning_curves(history(), best_epoch=2) for _ in range(2)}
    assert len(pictures) == 1


def test_a_checkpoint_has_the_learning_curves_of_its_history(trained):
    metrics = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    png = (trained / "learning_curves.png").read_bytes()
    pixels(png)
    assert png == plots.learning_curves(metrics["history"], best_epoch=metrics["best_epoch"])


def test_the_history_has_the_training_loss_of_each_epoch(trained):
    entries = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["history"]
    assert [entry["epoch"] for entry in entries] == list(range(1, 61))
    assert entries[-1]["loss"] < 0.2 * entries[0]["loss"]


def test_the_history_without_validation_data_is_the_loss(write_config, tmp_path):
    made = config.load(write_config(tmp_path, data={"messages": {"validation": None}}))
    done = train(made, tmp_path / "checkpoint")
    assert done.metrics["validation"] == {}
    assert [set(entry) for entry in done.metrics["history"]] == [{"epoch", "loss"}] * 2
    pixels((done.path / "learning_curves.png").read_bytes())
