import json
import math

import pytest

from polyhead.errors import ManifestError
from polyhead.heads import HeadSpec
from polyhead.system.schema import parse, plain


def spec(**changes):
    return HeadSpec(**{"kind": "x.v1", "output": "logits/x", "max_tokens": 16, **changes})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"labels": ("a", "b"), "thresholds": (0.5,)},
            "thresholds: found 1 for 2 labels, expected one a label.",
            id="too_few_thresholds",
        ),
        pytest.param(
            {"thresholds": (0.5,)},
            "thresholds: found 1 for 0 labels, expected one a label.",
            id="thresholds_without_labels",
        ),
        pytest.param(
            {"labels": ("a",), "thresholds": (1.5,)},
            r"thresholds: found \[1.5\], expected 0 to 1 each.",
            id="no_probability",
        ),
        pytest.param(
            {"labels": ("a",), "thresholds": (math.nan,)}, r"found \[nan\]", id="nan_threshold"
        ),
        pytest.param(
            {"labels": ("a", "b"), "activation": "softmax", "temperature": (1.0, 2.0)},
            "temperature: found 2 numbers, expected 1.",
            id="two_temperatures",
        ),
        pytest.param(
            {"labels": ("a", "b"), "activation": "sigmoid", "temperature": ()},
            "temperature: found 0 numbers, expected 1 or 2.",
            id="no_temperature",
        ),
        pytest.param({"temperature": (0.0,)}, "expected 0.01 to 100 each", id="zero_temperature"),
        pytest.param({"temperature": (math.nan,)}, "found .nan.", id="nan_temperature"),
        pytest.param({"scale": (1.0,)}, r"scale: found \[1.0\], expected two", id="one_number"),
        pytest.param({"scale": (1.0, 2.0, 3.0)}, "expected two finite", id="three_numbers"),
        pytest.param({"scale": (math.inf, 1.0)}, r"found \[inf, 1.0\]", id="infinite_offset"),
        pytest.param({"scale": (0.0, math.nan)}, r"found \[0.0, nan\]", id="nan_factor"),
        pytest.param({"scale": (0.0, 0.0)}, "a factor above 0", id="no_factor"),
        pytest.param({"scale": (0.0, -1.0)}, "a factor above 0", id="negative_factor"),
        pytest.param({"dimensions": (4, 0)}, r"dimensions: found \[4, 0\]", id="no_dimension"),
        pytest.param({"longest": 0}, "longest: found 0, expected at least 1", id="no_length"),
        pytest.param({"sentences": 0}, "sentences: found 0, expected", id="no_sentence"),
        pytest.param({"no_answer": math.nan}, "no_answer: found nan", id="nan_no_answer"),
        pytest.param({"no_answer": -math.inf}, "no_answer: found -inf", id="infinite_no_answer"),
    ],
)
def test_what_a_spec_may_not_say(fields, message):
    with pytest.raises(ValueError, match=message):
        spec(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": ("a", "b"), "thresholds": (0.0, 1.0)},
        {"scale": (-1000.0, 0.1 + 0.2)},
        {"temperature": (0.1 + 0.2,)},
        {"labels": (), "thresholds": ()},
        {"input": "pair", "no_answer": -0.1, "longest": 12, "stride": 15},
        {"dimensions": (2, 4), "sentences": 3},
    ],
    ids=["thresholds", "scale", "temperature", "no_labels", "answer", "sizes"],
)
def test_thresholds_and_scale_come_back_from_json_to_the_bit(fields):
    data = json.loads(json.dumps(plain(spec(**fields))))
    assert parse(HeadSpec, data, where="x", error=ManifestError) == spec(**fields)


def test_a_manifest_from_before_there_were_scales_has_none():
    data = {"kind": "tokens.v1", "output": "logits/x", "max_tokens": 16}
    assert parse(HeadSpec, data, where="x", error=ManifestError).scale is None


@pytest.mark.parametrize("scale", [[1], [1, 2, 3], [1, "2"], 3, [0, 0]], ids=str)
def test_a_manifest_with_another_scale_is_refused(scale):
    data = {"kind": "regression.v1", "output": "logits/x", "max_tokens": 16, "scale": scale}
    with pytest.raises(ManifestError, match=r"manifest\.json: .*scale"):
        parse(HeadSpec, data, where="manifest.json", error=ManifestError)
