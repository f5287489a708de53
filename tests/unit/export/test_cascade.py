"""`polyhead combine --cascade`: thresholds from texts, and a bundle that keeps its word on them."""

import json
import logging
import random
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from polyhead import BundleError, HeadClash, InvalidSetting, load
from polyhead.bundle import read, read_parts
from polyhead.cli.main import main
from polyhead.verify.golden import verify
from polyhead_export.combining import cascade_heads, combine
from polyhead_export.errors import GateError
from polyhead_models.cascade import smallest_threshold, texts_needed

WORDS = ["anna", "oslo", "parcel", "thanks", "late", "the", "!", "lives", "who"]


def some_texts(count, seed=7):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randrange(1, 12))) for _ in range(count)]


@pytest.fixture(scope="module")
def teacher(make_bundle, graph, tmp_path_factory):
    """The heads of `bundle` over an encoder that is a little different."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    noise = np.random.default_rng(3)
    embeddings = changed.graph.initializer[0]
    values = numpy_helper.to_array(embeddings)
    values = values + noise.normal(scale=0.3, size=values.shape).astype(np.float32)
    embeddings.CopyFrom(numpy_helper.from_array(values, embeddings.name))
    return make_bundle(
        tmp_path_factory.mktemp("teacher") / "bundle", model=changed, answers_of=changed
    )


@pytest.mark.parametrize("most", [0.005, 0.02, 0.1, 1.0])
@pytest.mark.parametrize("count", [0, 1, 50, 199, 400])
def test_no_smaller_threshold_holds(count, most):
    draw = np.random.default_rng(count)
    for digits in (1, 3):  # of which some are equal
        confidences = np.round(draw.uniform(size=count), digits)
        differs = draw.uniform(size=count) > 0.3 + 0.7 * confidences
        holding = [
            least
            for least in set(confidences.tolist())
            if ((differs & (confidences >= least)).sum() + 1) / (count + 1) <= most
        ]
        found = smallest_threshold(confidences, differs, most)
        assert found == min(holding, default=None)


def test_further_texts_keep_the_limit_on_average():
    """Which the plain share of the texts that it was chosen on does not."""
    draw, most, count = np.random.default_rng(0), 0.02, 300
    ours, plain = [], []
    for _ in range(600):
        confidences = draw.uniform(size=count)
        differs = draw.uniform(size=count) < (1 - confidences) ** 2
        least = smallest_threshold(confidences, differs, most)
        ours.append((1 - least) ** 3 / 3)  # of all texts: the integral from there to 1
        order = np.sort(confidences)
        shares = [(differs & (confidences >= each)).mean() for each in order]
        plain.append((1 - order[np.array(shares) <= most][0]) ** 3 / 3)
    assert np.mean(ours) <= most
    assert np.mean(plain) > most
    assert np.mean(ours) > most * 0.8


@pytest.mark.parametrize(("percent", "needed"), [(0.5, 199), (1.0, 99), (0.3, 333), (100, 0)])
def test_so_many_texts_are_needed(percent, needed):
    assert texts_needed(percent) == needed
    for count, enough in ((needed, True), (needed - 1, False)):
        if count > 0:
            sure = np.ones(count), np.zeros(count, dtype=bool)
            assert (smallest_threshold(*sure, percent / 100) is not None) is enough


@pytest.mark.parametrize("max_flips", [0.5, 2.0])
def test_the_bundle_keeps_its_word_and_asks_no_more_than_it_says(
    bundle, teacher, tmp_path, polyhead_main, max_flips
):
    texts = some_texts(400)
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    words = ["combine", bundle, teacher, "-o", tmp_path / "both", "--cascade", "--texts", path]
    shown = polyhead_main(*words, "--max-flips", max_flips)
    assert "teacher asked %" in shown
    with load(tmp_path / "both") as both, load(bundle) as own, load(teacher) as other:
        found = both.predict(texts)
        alone = list(zip(own.predict(texts), other.predict(texts), strict=True))
        for answer, (small, large) in zip(found, alone, strict=True):
            by = small if answer.answered_by["topic"] == "student" else large
            assert answer["topic"].to_dict() == by["topic"].to_dict()
            assert answer["entities"].to_dict() == large["entities"].to_dict()
            assert answer.answered_by["embedding"] == "teacher"
        changed = sum(
            a["topic"].label != b["topic"].label for a, (_, b) in zip(found, alone, strict=True)
        )
        asked = sum(answer.answered_by["topic"] == "teacher" for answer in found)
    assert 0 < asked < len(texts)
    assert changed / len(texts) <= max_flips / 100
    first, second = read_parts(tmp_path / "both")
    assert list(first.cascade) == ["topic"]
    whole = json.loads((tmp_path / "both" / "manifest.json").read_text())
    facts = whole["provenance"]["cascade"]["topic"]
    assert facts == {
        "threshold": first.cascade["topic"],
        "texts": 400,
        "asked": asked / 400,
        "changed": changed / 400,
    }
    assert first.manifest.graphs[0].file != second.manifest.graphs[0].file
    assert "A student and its teacher" in (tmp_path / "both" / "README.md").read_text()
    assert verify(tmp_path / "both").passed


@pytest.fixture
def polyhead_main(capsys):
    def run(*words):
        assert main([str(word) for word in words]) == 0
        return capsys.readouterr().out

    return run


def test_a_model_is_never_changed_by_itself(bundle, tmp_path):
    found = cascade_heads((bundle, ""), (bundle, ""), some_texts(250), max_flips=0.5)
    assert list(found) == ["topic"]
    assert (found["topic"].asked, found["topic"].changed) == (0, 0)
    combine([(bundle, ""), (bundle, "")], tmp_path / "both", found)
    assert len(list((tmp_path / "both").glob("*.onnx"))) == 1
    with load(tmp_path / "both") as engine:
        assert engine("anna").answered_by["entities"] == "teacher"


def test_one_encoder_in_both_is_not_merged(bundle, make_bundle, graph, tmp_path):
    """A merged graph would compute the heads of both for every text."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    weight = changed.graph.initializer[1]
    values = numpy_helper.to_array(weight)[::-1].copy()
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    other = make_bundle(tmp_path / "other", model=changed, answers_of=changed)
    found = cascade_heads((bundle, ""), (other, ""), some_texts(60), max_flips=100)
    combine([(bundle, ""), (other, "")], tmp_path / "both", found)
    assert len(list((tmp_path / "both").glob("*.onnx"))) == 2


def test_too_few_texts_are_told_with_how_many_are_needed(bundle, teacher, caplog, tmp_path):
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(GateError, match=r"no threshold holds at most 0.5% .* topic \(198\)"),
    ):
        cascade_heads((bundle, ""), (bundle, ""), some_texts(198), max_flips=0.5)
    assert "198 texts; at least 199 are needed" in caplog.text


def test_a_head_with_prefixes_is_one_head(bundle, teacher, tmp_path):
    sources = [(bundle, "our-"), (teacher, "our-")]
    found = cascade_heads(*sources, some_texts(100), max_flips=50)
    combine(sources, tmp_path / "both", found)
    with load(tmp_path / "both") as engine:
        assert set(engine("anna").answered_by) == {"our-topic", "our-entities", "our-embedding"}


def test_heads_that_do_not_fit_are_refused(bundle, make_bundle, tmp_path, combined_bundle):
    texts = some_texts(10)
    with pytest.raises(GateError, match="none is in both"):
        cascade_heads((bundle, ""), (bundle, "b-"), texts, max_flips=5)
    with pytest.raises(InvalidSetting, match="above 0 to 100"):
        cascade_heads((bundle, ""), (bundle, ""), texts, max_flips=0)
    with pytest.raises(BundleError, match="a bundle of 2 sub-models"):
        cascade_heads((bundle, ""), (combined_bundle, ""), texts, max_flips=5)
    heads = dict(read(bundle).manifest.heads)
    heads["topic"] = replace(heads["topic"], labels=heads["topic"].labels[::-1])
    other = make_bundle(tmp_path / "other", heads=heads)
    with pytest.raises(HeadClash, match="the labels of the head 'topic' differ"):
        cascade_heads((bundle, ""), (other, ""), texts, max_flips=5)


@pytest.fixture
def combined_bundle(bundle, teacher, tmp_path):
    combine([(bundle, ""), (teacher, "b-")], tmp_path / "side")
    return tmp_path / "side"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cascade"], "--cascade and --texts FILE go together"),
        (["--texts", "t.txt"], "--cascade and --texts FILE go together"),
        (["--cascade", "--texts", "t.txt", "--max-flips", "0"], "above 0 to 100"),
    ],
    ids=["no texts", "texts alone", "none may change"],
)
def test_words_that_do_not_fit_are_refused(bundle, teacher, capsys, words, message):
    with pytest.raises(SystemExit):
        main(["combine", str(bundle), str(teacher), "-o", "both", *words])
    assert message in capsys.readouterr().err


def test_a_cascade_is_of_two_bundles(bundle, capsys):
    words = ["-o", "both", "--cascade", "--texts", "t.txt"]
    with pytest.raises(SystemExit):
        main(["combine", *[str(bundle)] * 3, *words])
    assert "expected two bundles, a student and its teacher" in capsys.readouterr().err
