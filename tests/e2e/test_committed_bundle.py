"""The committed bundles go on loading and answering, whatever version reads them.

`tests/data/bundle` and `tests/data/combined` (two bundles over one encoder, their graphs merged)
were written by commit 7f10546, `tests/data/answers.json` by its runtime.
"""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

import polyhead
from polyhead.verify.golden import verify

DATA = Path(__file__).parents[1] / "data"
ANSWERS = json.loads((DATA / "answers.json").read_text(encoding="utf-8"))
# Another CPU or onnxruntime may round floats otherwise.
OTHER_KERNELS = 0.05

bundles = pytest.mark.parametrize("name", ["bundle", "combined"])


def recorded(found):
    return np.frombuffer(base64.b64decode(found["float32"]), "<f4").reshape(found["shape"])


@bundles
def test_it_verifies(name):
    assert verify(DATA / name).passed


@bundles
def test_it_is_small(name):
    assert sum(file.stat().st_size for file in (DATA / name).iterdir()) < 128 * 1024


@bundles
def test_it_gives_the_logits_that_it_gave(name):
    with polyhead.load(DATA / name, threads=1) as engine:
        found, info = engine.logits(ANSWERS["texts"]), engine.info()
    same_kernels = (info["cpu"]["flags"], info["versions"]["onnxruntime"]) == (
        ANSWERS["cpu"],
        ANSWERS["onnxruntime"],
    )
    assert list(found) == list(ANSWERS[name])
    for head, arrays in found.items():
        for array, before in zip(arrays, map(recorded, ANSWERS[name][head]), strict=True):
            if same_kernels:
                assert array.tobytes() == before.tobytes()
            np.testing.assert_allclose(array, before, atol=OTHER_KERNELS)


@bundles
def test_it_gives_the_decisions_that_it_gave(name):
    with polyhead.load(DATA / name) as engine:
        found = [prediction.to_dict() for prediction in engine.predict(ANSWERS["texts"])]
    for after, before in zip(found, ANSWERS[f"{name} results"], strict=True):
        for head, result in after["heads"].items():
            for key in {"label", "spans"} & result.keys():
                assert _without_scores(result[key]) == _without_scores(before["heads"][head][key])


def _without_scores(value):
    if isinstance(value, list):
        return [{k: v for k, v in span.items() if k != "score"} for span in value]
    return value
