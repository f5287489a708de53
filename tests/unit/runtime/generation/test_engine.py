"""Heads that write, in an engine beside others."""

import pickle
import threading
from dataclasses import replace

import numpy as np
import onnx
import pytest

from polyhead import (
    Engine,
    Generated,
    GraphError,
    InvalidSetting,
    InvalidText,
    ManifestError,
    UnknownHead,
    WrongInput,
    load,
)
from polyhead.heads import decoder

TEXT = "The parcel was late. Anna lives in Oslo."
LONG = "the parcel was late in oslo . " * 12
TEXTS = [TEXT, "", "Anna lives in Oslo", LONG, TEXT, "oslo lives in anna", "né à 東京 👍"]


def test_one_call_writes_and_classifies(writer_engine):
    found = writer_engine(TEXT)
    assert list(found) == ["topic", "entities", "embedding", "short", "copy"]
    assert isinstance(found["short"], Generated)
    assert found["short"].text
    assert found["topic"] == writer_engine(TEXT, heads="topic")["topic"]
    assert found["short"] == writer_engine(TEXT, heads="short")["short"]


@pytest.mark.parametrize("options", [{}, {"beams": 3, "no_repeat": 2}], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_an_answer_does_not_depend_on_the_list(writing, threads, options):
    chosen = {"short": options, "copy": options}
    with load(writing, threads=threads) as engine:
        together = engine.predict(TEXTS, options=chosen)
        for text, found in zip(TEXTS, together, strict=True):
            alone = engine(text, options=chosen)
            assert alone.results["short"] == found.results["short"]
            assert alone.results["copy"] == found.results["copy"]


def test_nor_does_it_where_a_graph_mixes_rows(writing_copy, reseal):
    path = writing_copy / "short.step.onnx"
    model = onnx.load(path)
    nodes = model.graph.node
    nodes[-1].output[0] = "own"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "rows"))
    nodes.append(onnx.helper.make_node("ReduceMean", ["own", "rows"], ["mean"], keepdims=1))
    nodes.append(onnx.helper.make_node("Add", ["own", "mean"], ["scores"]))
    onnx.save(model, path)
    reseal(writing_copy)
    texts = ["anna lives in oslo", "the parcel was late", "thanks anna is late"]  # equally long
    with load(writing_copy, heads=["short"]) as engine:
        assert engine.predict(texts) == [engine(text) for text in texts]


def test_options_are_of_one_head(writer_engine):
    found = writer_engine(TEXT, options={"short": {"max_tokens": 3}})
    assert found["short"].tokens == 3
    assert found["copy"] == writer_engine(TEXT)["copy"]
    whole = writer_engine(TEXT, options={"short": {"max_tokens": 40}})["short"]
    assert whole.text.startswith(found["short"].text)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"short": {"max_tokens": 0}}, InvalidSetting, "max_tokens=0"),
        ({"short": {"beams": 65}}, InvalidSetting, "beams=65"),
        ({"short": {"k": 2}}, InvalidSetting, "no option 'k'; allowed: max_tokens"),
        ({"topic": {"beams": 2}}, InvalidSetting, "'topic' has no option 'beams'"),
        ({"shrot": {}}, UnknownHead, "Did you mean 'short'"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_is_computed(
    writer_engine, options, error, message
):
    with pytest.raises(error, match=message):
        writer_engine.predict([], options=options)


def test_copied_parts_stand_in_both_texts(writer_engine):
    found = writer_engine(TEXT, options={"copy": {"min_tokens": 20, "max_tokens": 30}})["copy"]
    assert found.copied
    for part in found.copied:
        assert TEXT[part.start : part.end] == part.text
        assert found.text[part.written_start : part.written_end] == part.text.lower()
    places = [part.written_start for part in found.copied]
    assert places == sorted(places)
    assert writer_engine(TEXT)["short"].copied == ()


def test_offsets_in_utf16(writer_engine):
    text = "👍👍 " + TEXT
    found = writer_engine(text, options={"copy": {"min_tokens": 20, "max_tokens": 30}})
    plain, moved = found["copy"], found.utf16()["copy"]
    assert plain.copied
    units = text.encode("utf-16-le")
    for one, other in zip(plain.copied, moved.copied, strict=True):
        assert units[2 * other.start : 2 * other.end].decode("utf-16-le") == one.text
        assert other.start == one.start + 2


def test_a_long_text_is_read_in_all_windows_or_in_the_first(writer_engine):
    found = writer_engine(LONG)
    assert found.windows > 1
    assert found["short"].truncated
    assert not found["copy"].truncated
    [first] = writer_engine.encode([LONG])
    start = LONG[: int(first.offsets[first.windows[0]].max())]
    assert replace(found["short"], truncated=False) == writer_engine(start)["short"]
    assert found["copy"].score != writer_engine(start)["copy"].score


def test_of_overlapping_windows_each_token_is_read_once(writer_engine, wordpiece):
    [encoding] = writer_engine.encode([LONG])
    head = decoder("copy", writer_engine.heads["copy"])
    read = head.read(encoding)
    [whole] = wordpiece.encode([LONG])
    assert encoding.ids[read.rows].tolist() == whole.ids.tolist()
    assert (read.ids == -1).tolist() == whole.special.tolist()


def test_as_plain_data(writer_engine):
    found = writer_engine(TEXT)
    data = found.to_dict()["heads"]["copy"]
    assert next(iter(data)) == "text"
    assert data["copied"][0].keys() == {"text", "start", "end", "written_start", "written_end"}
    row = found.to_row()
    assert row["short"] == found["short"].text
    assert row["short_score"] == found["short"].score
    assert row["short_finished"] is found["short"].finished
    assert "short_copied" not in row
    assert found["short"].text in str(found)
    assert found["short"].text.split()[0] in found._repr_html_()


def test_a_stream_is_the_answer_of_a_greedy_search_in_pieces(writer_engine):
    for text in (TEXT, "", LONG):
        for head in ("short", "copy"):
            *pieces, last = writer_engine.stream(text, head, max_tokens=20)
            expected = writer_engine(text, options={head: {"max_tokens": 20, "beams": 1}})[head]
            assert last == expected
            assert "".join(pieces) == last.text
            assert len(pieces) > 5
            assert all(pieces)


def test_a_stream_takes_none_for_what_the_head_says(writer_engine):
    streams = [writer_engine.stream(TEXT, "short", **each) for each in ({}, {"beams": None})]
    assert list(streams[0]) == list(streams[1])


def test_a_stream_that_is_closed_computes_no_more(writer_engine):
    steps = []
    stream = writer_engine.stream(TEXT, "short", max_tokens=40, wanted=lambda: not steps.append(1))
    assert next(stream)
    stream.close()
    taken = len(steps)
    assert 0 < taken < 10
    assert writer_engine(TEXT)["short"].text


def test_a_stream_nobody_wants_any_more_ends_without_a_result(writer_engine):
    left = iter([True] * 5)
    pieces = list(writer_engine.stream(TEXT, "short", wanted=lambda: next(left, False)))
    assert pieces
    assert all(isinstance(piece, str) for piece in pieces)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (TEXT, "topic"),
            {},
            InvalidSetting,
            "writes no text piece by piece; those that do: short",
        ),
        ((TEXT, "shrot"), {}, UnknownHead, "short"),
        ((TEXT, "short"), {"beams": 2}, InvalidSetting, "greedy search"),
        ((TEXT, "short"), {"beams": True}, InvalidSetting, "beams=True"),
        ((TEXT, "short"), {"beams": np.ones(2)}, InvalidSetting, "beams="),
        ((TEXT, "short"), {"max_tokens": 0}, InvalidSetting, "max_tokens=0"),
        ((TEXT, "short"), {"k": 0}, InvalidSetting, "no option 'k'"),
        ((7, "short"), {}, InvalidText, "found int"),
        ((("a", "b"), "short"), {}, WrongInput, "a pair of texts"),
    ],
    ids=str,
)
def test_a_wrong_stream_is_refused_at_once(writer_engine, arguments, options, error, message):
    with pytest.raises(error, match=message):
        writer_engine.stream(*arguments, **options)


def test_a_text_that_is_not_wanted_any_more_is_left_out_between_two_steps(writer_engine):
    asked = []

    def wanted(row):
        asked.append(row)
        return row != 1 or asked.count(1) < 6

    texts = [TEXT, "Anna lives in Oslo", ""]
    found = writer_engine.predict(texts, heads="short", wanted=wanted)
    assert found[1] is None
    assert found[0] == writer_engine(TEXT, heads="short")
    assert found[2] == writer_engine("", heads="short")
    assert asked.count(1) == 6


def test_an_interrupt_in_the_middle_leaves_the_engine_as_it_was(writing):
    with load(writing, threads=2) as engine:
        expected = engine.predict(TEXTS)
        asked = []

        def interrupted(row):
            asked.append(row)
            if len(asked) > 40:
                raise KeyboardInterrupt
            return True

        with pytest.raises(KeyboardInterrupt):
            engine.predict(TEXTS, wanted=interrupted)
        assert engine.predict(TEXTS) == expected


def test_many_threads_write_at_once(writing):
    with load(writing, threads=2) as engine:
        expected = engine.predict(TEXTS)
        found = [None] * 4

        def ask(place):
            found[place] = engine.predict(TEXTS)

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected] * 4


def test_a_pickled_engine_writes_the_same(writer_engine):
    with pickle.loads(pickle.dumps(writer_engine)) as other:
        assert other(TEXT) == writer_engine(TEXT)


def test_more_states_than_are_kept_are_written_in_between(writer_engine, monkeypatch):
    expected = writer_engine.predict(TEXTS)
    monkeypatch.setattr("polyhead._call.writing._WAITING_BYTES", 100)
    assert writer_engine.predict(TEXTS) == expected


@pytest.fixture
def nan_for_the(writer_engine, monkeypatch):
    """Texts that begin with "the" have scores that are no numbers."""
    [start] = writer_engine.logits(["the"], heads="short")["short"]
    backend = type(writer_engine._model.writers["short"].backend)
    usual = backend.cross

    def cross(self, states):
        found = usual(self, states)
        found[1][(states[:, 1] == start[1]).all(axis=1)] = np.nan
        return found

    monkeypatch.setattr(backend, "cross", cross)
    return writer_engine


@pytest.mark.parametrize("beams", [1, 3])
def test_scores_that_are_no_numbers_are_an_error_in_the_place_of_their_text(nan_for_the, beams):
    texts = ["anna lives in oslo", "the parcel was late", "thanks anna is late", "the parcel"]
    options = {"short": {"beams": beams}}
    found = nan_for_the.predict(texts, options=options, errors="return")
    for row in (1, 3):
        assert isinstance(found[row], GraphError)
        assert str(found[row]).startswith(f"input {row}: the decoder gives nan")
    for row in (0, 2):
        assert found[row] == nan_for_the(texts[row], options=options)
    with pytest.raises(GraphError, match="input 1: the decoder gives nan"):
        nan_for_the.predict(texts, options=options)
    with pytest.raises(GraphError, match="input 0: the decoder gives nan"):
        list(nan_for_the.stream(texts[1], "short"))


def test_a_text_too_long_for_the_options_is_an_error_in_its_place(writer_engine, monkeypatch):
    texts, options = ["anna", LONG, "oslo"], {"copy": {"beams": 4}}
    expected = writer_engine.predict(texts, options=options)
    monkeypatch.setattr("polyhead.inference.generation.writing._MOST_BYTES", 2**15)
    found = writer_engine.predict(texts, options=options, errors="return")
    assert [found[0], found[2]] == [expected[0], expected[2]]
    assert isinstance(found[1], InvalidSetting)
    assert "input 1: beams=4, max_tokens=12: the caches" in str(found[1])
    assert found[1].index == 1
    with pytest.raises(InvalidSetting, match="Ask for fewer beams"):
        list(writer_engine.stream(LONG * 4, "copy"))


def test_what_a_decoder_cannot_write_is_not_copied(writer_engine):
    [encoding] = writer_engine.encode([TEXT])
    spec = writer_engine.heads["copy"]
    few = int(np.median(encoding.ids))
    smaller = replace(spec, generation=replace(spec.generation, vocabulary=few))
    ids, own = (decoder("copy", each).read(encoding).ids for each in (spec, smaller))
    assert (own == np.where(ids < few, ids, -1)).all()
    assert (own >= 0).any()
    assert (own < ids).any()


def test_a_head_without_its_decoder_is_refused(writer_engine, wordpiece):
    spec = writer_engine.heads["short"]
    with pytest.raises(ManifestError, match="nothing was given that computes its decoder"):
        Engine(object(), wordpiece, {"short": spec}, max_tokens=24)
    with pytest.raises(ManifestError, match="Ask an engine"):
        decoder("short", spec).decode(None, None)
    with pytest.raises(ManifestError, match="has no 'generation'"):
        decoder("short", replace(spec, generation=None))


def test_any_back_end_may_compute_the_steps(writer_engine, wordpiece):
    model = writer_engine._model
    (part,) = model.parts
    steps = {name: writer.backend for name, writer in part.writers.items()}
    heads = {name: model.specs[name] for name in steps}
    with Engine(part.backend, wordpiece, heads, max_tokens=24, steps=steps) as engine:
        assert engine(TEXT)["copy"] == writer_engine(TEXT)["copy"]
