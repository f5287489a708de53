"""Several bundles behind one engine."""

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import polyhead
from polyhead import HeadClash, InvalidSetting, TextTooLong, UnknownHead, WrongInput, load
from polyhead.inference.session import OnnxSession
from polyhead.text.tokenizer import Tokenizer

TEXTS = ["The parcel was late.", "", "Anna lives in Oslo", "thanks, thanks! " * 20]


@pytest.fixture(scope="session")
def other(make_bundle, graph, tmp_path_factory):
    """A bundle with another encoder of the same name, and the same tokenizer."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    for weight in changed.graph.initializer:
        values = numpy_helper.to_array(weight)[::-1].copy()
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    encoder = replace(_encoder(make_bundle, tmp_path_factory), fingerprint="1" * 64)
    folder = tmp_path_factory.mktemp("other") / "bundle"
    return make_bundle(folder, model=changed, answers_of=changed, encoder=encoder)


def _encoder(make_bundle, tmp_path_factory):
    folder = make_bundle(tmp_path_factory.mktemp("plain") / "bundle")
    return polyhead.bundle.read(folder).manifest.encoder


@pytest.fixture(scope="session")
def foreign(make_bundle, wordpiece_json, tmp_path_factory):
    """A bundle whose tokenizer differs in one token."""
    return make_bundle(
        tmp_path_factory.mktemp("foreign") / "bundle",
        tokenizer=wordpiece_json.replace('"oslo"', '"rome"'),
    )


@pytest.fixture
def counted(monkeypatch):
    """Counts calls of tokenizers and sessions."""
    counts = Counter()
    for cls, name in ((Tokenizer, "encode_texts"), (OnnxSession, "run")):
        real = getattr(cls, name)

        def count(self, *given, real=real, name=name, **more):
            counts[name] += 1
            return real(self, *given, **more)

        monkeypatch.setattr(cls, name, count)
    return counts


@pytest.mark.parametrize("threads", [1, 2])
def test_heads_stand_side_by_side_with_the_answers_of_each(bundle, other, threads):
    with (
        load(bundle, other, prefix=["", "b-"], threads=threads) as both,
        load(bundle) as first,
        load(other) as second,
    ):
        assert list(both.heads) == [*first.heads, *(f"b-{name}" for name in second.heads)]
        expected = first.logits(TEXTS) | {f"b-{k}": v for k, v in second.logits(TEXTS).items()}
        found = both.logits(TEXTS)
        assert found.keys() == expected.keys()
        for name, arrays in expected.items():
            for array, own in zip(arrays, found[name], strict=True):
                np.testing.assert_array_equal(array, own)
        prediction, alone = both(TEXTS[0]), second(TEXTS[0])
        assert prediction["b-topic"] == alone["topic"]
        assert prediction["b-entities"] == alone["entities"]
        assert prediction.tokens == alone.tokens
        assert both.predict([]) == []


def test_one_tokenizer_reads_a_text_once(bundle, other, counted):
    with load(bundle, other, prefix=["", "b-"]) as engine:
        engine("The parcel was late.")
        assert counted == {"encode_texts": 1, "run": 2}


def test_only_the_sub_models_of_the_asked_heads_run(bundle, other, counted):
    with load(bundle, other, prefix=["", "b-"]) as engine:
        assert set(engine("The parcel was late.", heads=["b-topic"])) == {"b-topic"}
        assert counted["run"] == 1
        assert list(engine.logits(["a"], heads=["topic", "b-topic"])) == ["topic", "b-topic"]
        assert counted["run"] == 3
    with load(bundle, other, prefix=["", "b-"], heads=["b-topic"]) as engine:
        assert list(engine.heads) == ["b-topic"]


def test_without_a_head_the_answer_is_empty_as_that_of_one_engine(bundle, other, counted):
    with load(bundle, other, prefix=["", "b-"]) as engine, load(bundle) as one:
        for texts in (TEXTS, [("who?", "Anna lives in Oslo")]):
            found = engine.predict(texts, heads=[])
            assert found == one.predict(texts, heads=[])
            assert [dict(prediction) for prediction in found] == [{}] * len(texts)
        assert engine.logits(TEXTS, heads=[]) == {}
        with pytest.raises(polyhead.InvalidText):
            engine(5, heads=[])
    assert counted["run"] == 0


def test_tokenizers_that_differ_in_one_token_are_kept_apart(bundle, foreign, counted):
    with load(bundle, foreign, prefix=["", "b-"]) as engine, load(foreign) as alone:
        counted.clear()
        found = engine("Anna lives in Oslo")
        assert counted == {"encode_texts": 2, "run": 2}
        expected = alone("Anna lives in Oslo")
        np.testing.assert_array_equal(found["b-embedding"].vector, expected["embedding"].vector)
        assert found["b-entities"] == expected["entities"]


def test_one_graph_in_two_bundles_runs_once(bundle, make_bundle, tmp_path, counted):
    same = make_bundle(tmp_path / "same")
    with load(bundle, same, prefix=["", "b-"], threads=2) as engine, load(bundle) as alone:
        counted.clear()
        found = engine("Anna lives in Oslo")
        assert counted == {"encode_texts": 1, "run": 1}
        expected = alone("Anna lives in Oslo")
        for name in alone.heads:
            assert found[name].to_dict() == found[f"b-{name}"].to_dict()
            assert found[name].to_dict() == expected[name].to_dict()
        counted.clear()
        assert set(engine("a", heads=["b-topic", "entities"])) == {"b-topic", "entities"}
        assert counted["run"] == 1
        texts, own = engine.logits(TEXTS), alone.logits(TEXTS)
        for name, arrays in own.items():
            for i, array in enumerate(arrays):
                np.testing.assert_array_equal(texts[name][i], array)
                np.testing.assert_array_equal(texts[f"b-{name}"][i], array)


def test_one_graph_that_reads_texts_in_two_ways_runs_twice(bundle, make_bundle, tmp_path, counted):
    manifest = polyhead.bundle.read(bundle).manifest
    encoder = replace(manifest.encoder, max_tokens=12)
    heads = {name: replace(spec, max_tokens=12) for name, spec in manifest.heads.items()}
    short = make_bundle(tmp_path / "short", encoder=encoder, heads=heads)
    with load(bundle, short, prefix=["", "b-"]) as engine, load(short) as alone:
        counted.clear()
        engine("Anna")
        assert counted == {"encode_texts": 1, "run": 2}
        found, expected = engine.logits(TEXTS), alone.logits(TEXTS)
        for array, own in zip(found["b-topic"], expected["topic"], strict=True):
            np.testing.assert_array_equal(array, own)


def test_a_second_file_of_one_graph_is_checked_too(bundle, make_bundle, tmp_path):
    same = make_bundle(tmp_path / "same")
    file = same / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(polyhead.DigestMismatch, match=str(file)):
        load(bundle, same, prefix=["", "b-"])


def test_one_encoder_in_two_graphs_is_logged_once(bundle, other, make_bundle, tmp_path, caplog):
    with load(bundle, other, prefix=["", "b-"]):
        assert not caplog.records
    changed = onnx.load(bundle / "model.onnx")
    changed.producer_name = "another exporter"
    twin = make_bundle(tmp_path / "twin", model=changed, answers_of=changed)
    with load(bundle, twin, twin, prefix=["", "b-", "c-"]):
        (record,) = caplog.records
    assert "'polyhead combine' makes one pass of them" in record.getMessage()


def test_one_encoder_that_reads_two_lengths_is_told_with_its_cure(
    bundle, make_bundle, tmp_path, caplog
):
    encoder = replace(polyhead.bundle.read(bundle).manifest.encoder, max_tokens=12)
    heads = {
        n: replace(s, max_tokens=12) for n, s in polyhead.bundle.read(bundle).manifest.heads.items()
    }
    short = make_bundle(tmp_path / "short", encoder=encoder, heads=heads)
    with load(bundle, short, prefix=["", "b-"]) as engine:
        note = engine.info()["note"]
    assert note == caplog.records[0].getMessage()
    assert "they read 24 and 12 tokens" in note
    assert "'polyhead import --max-tokens 12'" in note
    with load(bundle, bundle, prefix=["", "b-"]) as engine:
        assert "note" not in engine.info()


def test_two_heads_of_one_name_are_refused(bundle, other):
    with pytest.raises(HeadClash, match="both have a head 'topic'") as caught:
        load(bundle, other)
    assert str(bundle) in str(caught.value)
    assert str(other) in str(caught.value)


@pytest.mark.parametrize("prefix", [["a-"], "a-", ["a-", 3], {"nowhere": "a-"}])
def test_prefixes_that_fit_no_bundle_are_refused(bundle, other, prefix):
    with pytest.raises(InvalidSetting, match="prefix"):
        load(bundle, other, prefix=prefix)


def test_prefixes_may_be_given_by_path(bundle, other):
    with load(bundle, other, prefix={str(other): "b-"}) as engine:
        assert "b-topic" in engine.heads


def test_one_bundle_may_have_a_prefix(bundle):
    with load(bundle, prefix=["a-"]) as engine:
        assert list(engine("a")) == ["a-topic", "a-entities", "a-embedding"]


def test_what_cannot_be_answered_is_an_error_as_by_one_engine(bundle, other):
    with load(bundle, other, prefix=["", "b-"], on_overflow="error") as engine:
        with pytest.raises(UnknownHead, match="b-topic"):
            engine("a", heads=["c-topic"])
        with pytest.raises(WrongInput, match="input 0"):
            engine(("who?", "Anna"))
        found = engine.predict(["a", "b " * 100, 3], errors="return")
        assert [type(each) for each in found] == [
            polyhead.Prediction,
            TextTooLong,
            polyhead.InvalidText,
        ]
        with pytest.raises(InvalidSetting, match="no option"):
            engine("a", options={"b-topic": {"k": 1}})
    with pytest.raises(UnknownHead, match="no head 'c'"):
        load(bundle, other, prefix=["", "b-"], heads=["c"])


def test_it_is_closed_reloaded_and_pickled_as_any_engine(bundle, other):
    with load(bundle, other, prefix=["", "b-"], threads=1) as engine:
        before = engine("Anna lives in Oslo")
        engine.warmup()
        engine.reload()
        with pytest.raises(InvalidSetting, match="reload"):
            engine.reload(bundle)
        with pickle.loads(pickle.dumps(engine)) as again:
            assert again("Anna lives in Oslo")["b-topic"] == before["b-topic"]
    with pytest.raises(polyhead.EngineClosed):
        engine("a")
    with pytest.raises(polyhead.EngineClosed):
        engine.logits(["a"])
    with pytest.raises(polyhead.EngineClosed):
        engine.encode(["a"])
    assert len(engine.info()["sub_models"]) == 2
