"""The script that makes texts for `polyhead shrink`."""

import runpy
import sys
from pathlib import Path

from polyhead_models import config
from polyhead_models.data import examples

SCRIPT = Path(__file__).parents[3] / "models" / "recipes" / "texts.py"


def test_texts_are_those_of_training_rows_without_what_is_held_out(
    write_config, tmp_path, monkeypatch
):
    path = write_config(tmp_path)
    made = config.load(path)
    trained, held_out = ({e.text for e in examples.load(made, s)} for s in ("train", "test"))
    leaked = min(held_out)
    file = tmp_path / "data" / "train.jsonl"
    rows = file.read_text(encoding="utf-8")
    leak = (tmp_path / "data" / "test.jsonl").read_text(encoding="utf-8")
    file.write_text(rows + leak, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["texts.py", str(path), "-o", str(tmp_path / "texts.txt")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    found = (tmp_path / "texts.txt").read_text(encoding="utf-8").splitlines()
    assert set(found) == {" ".join(text.split()) for text in trained - held_out}
    assert len(found) == len(set(found))
    assert leaked not in found
