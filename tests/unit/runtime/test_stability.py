"""The certificate: a graph whose rows are apart, and one whose rows are not."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

from polyhead import ManifestError
from polyhead import bundle as bundles
from polyhead.inference.session import OnnxSession
from polyhead.system import cpu
from polyhead.verify import stability
from polyhead.verify.golden import verify

TEXTS = ("", "the parcel was late", "anna lives in oslo . " * 9, "thanks")


@pytest.fixture
def unstable(make_bundle, mixing, tmp_path):
    return make_bundle(tmp_path / "unstable", model=mixing, answers_of=mixing)


@pytest.fixture(scope="module")
def encodings(wordpiece):
    return wordpiece.encode(TEXTS)


def test_rows_that_are_apart_are_the_same_to_the_bit(bundle, encodings):
    found = stability.measure(bundle / "model.onnx", encodings)
    assert found.max_difference == 0
    assert found.passed
    assert (found.graph, found.texts) == ("model.onnx", len(TEXTS))
    assert (found.batch_sizes, found.threads) == ((1, 8, 64), (1, 2, 4))
    assert (found.cpu, found.onnxruntime) == (cpu.describe().model, ort.__version__)


def test_rows_that_reach_each_other_are_found(unstable, encodings):
    found = stability.measure(unstable / "model.onnx", encodings)
    assert found.max_difference > 0.1
    assert not found.passed


def test_one_text_is_enough(bundle, unstable, encodings):
    assert stability.measure(bundle / "model.onnx", encodings[1:2]).passed
    assert not stability.measure(unstable / "model.onnx", encodings[1:2]).passed


def test_no_more_than_six_texts_are_asked(bundle, wordpiece):
    many = wordpiece.encode(["late " * n for n in range(20)])
    assert stability.measure(bundle / "model.onnx", many).texts == 6


def test_pairs_are_fed_with_their_types(many_heads, wordpiece):
    pairs = wordpiece.encode([("who?", "anna"), "late"])
    assert stability.measure(many_heads / "model.onnx", pairs).passed


def test_nothing_to_ask_is_an_error(bundle):
    with pytest.raises(ValueError, match="found none"):
        stability.measure(bundle / "model.onnx", [])


def test_a_session_may_share_its_work_among_threads(bundle):
    one, two = (OnnxSession(bundle / "model.onnx", intra_op_threads=n) for n in (1, 2))
    assert two.info()["intra_op_threads"] == 2
    ids = np.array([[2, 9, 3]])
    for a, b in zip(*(s.run(s.outputs, {"input_ids": ids}) for s in (one, two)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_verify_measures_stability_where_it_is_asked(bundle):
    assert verify(bundle).stability is None
    found = verify(bundle, stability=True)
    assert found.passed
    assert found.stability.passed


def test_a_bundle_without_stability_does_not_pass(bundle):
    found = verify(bundle, stability=True)
    assert not replace(found, stability=replace(found.stability, max_difference=1e-9)).passed


def test_a_padded_graph_has_no_stability(make_bundle, edit_json, tmp_path):
    folder = make_bundle(tmp_path / "padded")
    edit_json(folder / "manifest.json", lambda m: m["graphs"][0].update(layout="padded"))
    with pytest.raises(ManifestError, match="no graph in the exact layout"):
        verify(folder, stability=True)


def test_the_command_says_what_was_compared(polyhead, bundle, unstable):
    good, bad = (polyhead("verify", "--stability", folder) for folder in (bundle, unstable))
    assert (good.returncode, bad.returncode) == (0, 1)
    asked = "logits of 5 texts in batches of 1, 8 and 64 and with 1, 2 and 4 threads"
    assert f"ok    {asked}" in good.stdout
    assert "the same to the bit" in good.stdout
    assert f"FAIL  {asked}" in bad.stdout


def test_the_command_gives_the_findings_as_json(polyhead, unstable):
    found = json.loads(polyhead("verify", "--stability", "--json", unstable).stdout)
    assert not found["passed"]
    assert found["stability"]["max_difference"] > 0.1
    assert json.loads(polyhead("verify", "--json", unstable).stdout)["stability"] is None


def test_a_certificate_in_the_manifest_is_read_again(make_bundle, encodings, tmp_path):
    folder = make_bundle(tmp_path / "first")
    certificate = stability.measure(folder / "model.onnx", encodings)
    again = make_bundle(tmp_path / "second", certificate=certificate)
    assert bundles.read(again).manifest.certificate == certificate
    assert not replace(certificate, max_difference=1e-9).passed
