"""The encoder for Chinese titles: its script, on two small files."""

import runpy
from pathlib import Path

from polyhead_models import encoder

SCRIPT = Path(__file__).parents[3] / "models" / "recipes" / "csl-encoder" / "make.py"


def test_each_character_is_a_token(tmp_path):
    script = runpy.run_path(str(SCRIPT))
    for file in script["COLUMNS"]:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("task\t研究方法的研究\t方法X研究x\n" * 2, encoding="utf-8")
    script["make"](tmp_path / "encoder", tmp_path)
    _, tokenizer = encoder.load(str(tmp_path / "encoder"))
    (read,) = tokenizer.encode(["研究X 方法"])
    assert tokenizer.decode(read.ids[read.body].tolist()) == "研究x方法"
    assert [tuple(each) for each in read.offsets[read.body]] == [
        *((0, 1), (1, 2), (2, 3), (4, 5), (5, 6))
    ]
