"""Golden examples with pairs, and a bundle whose heads read different inputs."""

import shutil

import pytest

from polyhead import BundleError, ManifestError
from polyhead.bundle import GoldenExample
from polyhead.system.schema import parse
from polyhead.verify.golden import verify

PARTS = {"ids": [1, 2], "logits": {}, "results": {}}


def example(text):
    return parse(GoldenExample, {"text": text, **PARTS}, where="golden.json", error=ManifestError)


def test_a_text_is_kept_as_it_is():
    assert example("né").input == "né"
    assert example("").input == ""


def test_a_pair_is_a_list_of_two():
    assert example(["who?", "Anna"]).input == ("who?", "Anna")
    assert example(["", ""]).input == ("", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param([], "found 0 texts, expected one, or two for a pair", id="none"),
        pytest.param(["a"], "found 1 texts", id="one"),
        pytest.param(["a", "b", "c"], "found 3 texts", id="three"),
        pytest.param(["a", 5], r"golden\.json: text: found \['a', 5\]", id="no_text"),
        pytest.param(None, r"golden\.json: text: found None", id="null"),
        pytest.param({"a": "b"}, r"golden\.json: text: found", id="table"),
    ],
)
def test_anything_else_is_refused(text, message):
    with pytest.raises(ManifestError, match=message):
        example(text)


def test_a_head_is_checked_on_the_inputs_that_it_reads(many_heads):
    found = verify(many_heads)
    assert found.passed
    assert {check.head: check.texts for check in found.heads} == {
        **dict.fromkeys(("topic", "flags", "urgency", "entities", "summary", "embedding"), 3),
        "short": 3,
        **dict.fromkeys(("match", "answer"), 3),
    }
    assert all(check.same_decisions == check.texts for check in found.heads)


@pytest.fixture
def verify_after(many_heads, tmp_path, edit_json, reseal):
    def check(change):
        folder = shutil.copytree(many_heads, tmp_path / "bundle")
        edit_json(folder / "golden.json", change)
        reseal(folder)
        return verify(folder)

    return check


def test_a_changed_logit_of_a_pair_fails_the_head_for_pairs_only(verify_after):
    def change(golden):
        golden["examples"][3]["logits"]["answer"][0][0] += 0.5

    found = verify_after(change)
    assert [check.head for check in found.heads if not check.passed] == ["answer"]


def test_what_a_golden_pair_says_of_a_head_for_texts_does_not_count(verify_after):
    def change(golden):
        golden["examples"][3]["logits"]["topic"] = [9.0]
        golden["examples"][0]["results"]["answer"] = {"text": "other"}

    assert verify_after(change).passed


def test_a_head_without_a_golden_text_has_nothing_to_differ_in(verify_after):
    found = verify_after(lambda golden: golden.update(examples=golden["examples"][:3]))
    assert {check.texts for check in found.heads} == {0, 3}
    assert found.passed


def test_the_ids_of_every_window_are_compared(verify_after):
    found = verify_after(lambda golden: golden["examples"][1]["ids"].pop())
    assert not found.token_ids_equal


def test_a_golden_pair_that_no_head_reads_is_an_error_of_the_bundle(bundle_copy, edit_json, reseal):
    edit_json(
        bundle_copy / "golden.json", lambda golden: golden["examples"][0].update(text=["a", "b"])
    )
    reseal(bundle_copy)
    with pytest.raises(BundleError):
        verify(bundle_copy)
