"""What a notebook shows and takes: reprs, HTML, key completion, columns of texts, tables."""

import asyncio
import json
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import polyhead
from polyhead import (
    Batcher,
    Classification,
    Embedding,
    Entities,
    InputError,
    InvalidText,
    MissingExtra,
    MultiLabel,
    Prediction,
    Span,
    UnknownHead,
    load,
)

TEXTS = ["The parcel was late.", "Anna lives in Oslo", "né 👍"]


@pytest.fixture(scope="module")
def engine(bundle):
    with load(bundle, threads=2) as engine:
        yield engine


def prediction(text="a b", **results):
    return Prediction(text=text, results=results, tokens=4)


def entities(*spans):
    return Entities(tuple(Span(label, text, s, s + len(text), 0.9) for label, text, s in spans))


class TestRepr:
    def test_of_an_engine_names_what_runs_and_the_heads(self, engine, bundle):
        first, *lines = repr(engine).splitlines()
        assert first == f"Engine({str(bundle)!r}, fp32, 2 threads)"
        assert [line.split()[:2] for line in lines] == [
            ["topic", "classification.v1"],
            ["entities", "tokens.v1"],
            ["embedding", "embedding.v1"],
        ]
        assert lines[1].endswith("PERSON, PLACE")

    def test_of_an_engine_cuts_labels_and_heads(self, engine):
        spec = engine.heads["topic"]
        many = {
            f"h{n}": polyhead.HeadSpec(
                kind=spec.kind, output="x", labels=tuple(map(str, range(64))), max_tokens=9
            )
            for n in range(40)
        }
        made = polyhead.Engine(engine._model.parts[0].backend, engine.tokenizer, many, max_tokens=9)
        lines = repr(made).splitlines()
        assert lines[1].endswith("classification.v1  0, 1, 2, … (64)")
        assert (len(lines), lines[-1]) == (14, "  … (40 heads)")

    def test_of_a_closed_engine_says_so(self, bundle):
        with load(bundle) as engine:
            pass
        assert "closed)" in repr(engine).splitlines()[0]

    def test_of_a_batcher_says_whether_it_is_open(self, engine):
        async def use():
            batcher = Batcher(engine)
            seen = [repr(batcher)]
            async with batcher:
                await batcher.predict("a")
                seen.append(repr(batcher))
            return [*seen, repr(batcher)]

        new, used, closed = asyncio.run(use())
        assert new.startswith("Batcher(not open yet: 0 requests, 0 waiting, 0 batches running)")
        assert used.startswith("Batcher(open: 1 requests")
        assert closed.startswith("Batcher(closed: 1 requests")
        assert closed.splitlines()[1].startswith("  Engine(")

    def test_of_a_prediction_is_a_line_a_head(self, engine):
        found = engine(TEXTS[0])
        first, *lines = repr(found).splitlines()
        assert first == f"Prediction('The parcel was late.', {found.tokens} tokens)"
        assert [line.split()[0] for line in lines] == ["topic", "entities", "embedding"]

    def test_of_a_prediction_is_short_whatever_it_holds(self):
        scores = {f"label {n}": n / 99 for n in range(64)}
        found = prediction(
            text="long\n" * 10**6,
            intent=Classification("label 63", 63 / 99, scores),
            flags=MultiLabel(tuple(scores), scores),
            vector=Embedding(np.zeros(384, np.float32)),
        )
        lines = repr(found).splitlines()
        assert len(lines) == 4
        assert max(map(len, lines)) <= 88

    def test_of_a_result_is_short_whatever_it_holds(self):
        scores = {f"l{n}": n / 100 for n in range(64)}
        assert repr(Classification("l63", 0.63, scores)) == "Classification(l63  0.63)"
        assert repr(MultiLabel(("l1",), scores)) == "MultiLabel(l1 0.01)"
        assert len(repr(Embedding(np.ones(384, np.float32)))) < 80

    def test_of_a_pair_shows_both_texts(self, engine_of_many_heads):
        first = repr(engine_of_many_heads(("who?", "Anna"))).splitlines()[0]
        assert first.startswith("Prediction('who?', 'Anna', ")


class Page(HTMLParser):
    """Its tags, its text, and the text of each mark."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.marks, self.inside = [], "", [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside.append(tag)
        if tag == "mark":
            self.marks.append("")

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "mark" in self.inside:
            self.marks[-1] += data


class TestHtml:
    def test_it_marks_the_spans_and_has_a_row_a_head(self):
        found = prediction(
            "Anna lives in Oslo.",
            people=entities(("PERSON", "Anna", 0), ("PLACE", "Oslo", 14)),
            topic=Classification("praise", 0.9, {"praise": 0.9}),
        )
        page = Page(found._repr_html_())
        assert page.marks == ["Anna", "Oslo"]
        assert page.text.startswith("AnnaPERSON lives in OsloPLACE.")
        assert page.tags.count("tr") == 2
        assert "praise 0.90" in page.text
        assert not page.inside

    def test_it_needs_nothing_from_elsewhere(self, engine):
        html = engine(TEXTS[1])._repr_html_()
        assert not {"script", "link", "img", "iframe", "style"} & {*Page(html).tags}
        assert "http" not in html
        assert "url(" not in html

    @pytest.mark.parametrize(
        "evil", ["<script>alert(1)</script>", "\" onload='x'", "&amp;", "</div>"]
    )
    def test_what_is_in_text_label_or_name_stays_text(self, evil):
        results = {evil: entities((evil, "a", 0)), "topic": Classification(evil, 1.0, {})}
        found = Prediction(text=f"a {evil}", results=results, tokens=3, query=evil)
        page = Page(found._repr_html_())
        assert "script" not in page.tags
        assert page.text.count(evil) >= 4
        assert not page.inside

    def test_marks_that_overlap_are_parted_and_lose_no_text(self):
        found = prediction(
            "one two three",
            a=entities(("A", "one two", 0)),
            b=entities(("B", "two three", 4), ("C", "two", 4)),
        )
        page = Page(found._repr_html_())
        assert page.marks == ["one ", "two", " three"]
        assert page.text.startswith("one twoACthree".replace("three", " threeB"))

    def test_a_long_text_is_cut_and_says_so(self):
        found = prediction("word " * 10_000, e=entities(("X", "word", 0), ("Y", "word", 40_000)))
        html = found._repr_html_()
        assert len(html) < 5_000
        assert "48,000 more characters" in html
        assert Page(html).marks == ["word"]

    def test_offsets_of_another_kind_mark_nothing_wrong(self):
        found = prediction("👍 Anna", e=entities(("PERSON", "Anna", 2)))
        assert Page(found._repr_html_()).marks == ["Anna"]
        assert Page(found.utf16()._repr_html_()).marks == []

    def test_every_kind_is_shown(self, engine_of_many_heads):
        for item in (
            "It is late. Anna lives in Oslo.",
            ("is anna late?", "Anna lives in Oslo"),
            "",
        ):
            found = engine_of_many_heads(item)
            page = Page(found._repr_html_())
            assert page.tags.count("tr") == len(found)
            assert not page.inside


class TestKeys:
    def test_a_notebook_completes_them(self, engine):
        assert engine(TEXTS[0])._ipython_key_completions_() == ["topic", "entities", "embedding"]

    def test_an_unknown_one_names_the_nearest(self, engine):
        found = engine(TEXTS[0], heads=["topic", "entities"])
        with pytest.raises(
            UnknownHead, match="no head 'topc'; this prediction has topic, entities"
        ) as caught:
            found["topc"]
        assert str(caught.value).endswith("Did you mean 'topic'?")
        assert isinstance(caught.value, KeyError)

    def test_it_is_a_mapping_as_any(self, engine):
        found = engine(TEXTS[0])
        assert found.get("nothing") is None
        assert "nothing" not in found
        assert "topic" in found
        assert dict(found).keys() == {"topic", "entities", "embedding"}


class Column:
    """As of a table: iterable, of one dimension, no list."""

    ndim = 1

    def __init__(self, texts):
        self.texts = texts

    def __iter__(self):
        return iter(self.texts)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(tuple, id="tuple"),
        pytest.param(iter, id="iterator"),
        pytest.param(lambda texts: (text for text in texts), id="generator"),
        pytest.param(lambda texts: dict.fromkeys(texts).keys(), id="keys"),
        pytest.param(np.array, id="array_of_str"),
        pytest.param(lambda texts: np.array(texts, dtype=object), id="array_of_objects"),
        pytest.param(Column, id="column"),
    ],
)
def test_texts_come_from_any_iterable(engine, given):
    expected = engine.predict(TEXTS)
    assert engine.predict(given(TEXTS)) == expected
    assert [e.text for e in engine.encode(given(TEXTS))] == TEXTS
    np.testing.assert_array_equal(
        engine.logits(given(TEXTS))["topic"], engine.logits(TEXTS)["topic"]
    )
    assert all(type(found.text) is str for found in engine.predict(given(TEXTS)))


def test_an_empty_iterator_gives_an_empty_list(engine):
    assert engine.predict(iter(())) == []


def test_missing_values_are_errors_in_their_places(engine):
    first, *missing, last = engine.predict(["a", None, float("nan"), "b"], errors="return")
    assert [found.text for found in (first, last)] == ["a", "b"]
    assert [found.index for found in missing] == [1, 2]
    assert all(isinstance(found, InvalidText) for found in missing)
    with pytest.raises(InvalidText, match=r"input 1: found a missing value \(None\).*dropna"):
        engine.predict(["a", None])


def test_an_error_of_the_iterator_is_the_callers(engine):
    def broken():
        yield "a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.predict(broken(), errors="return")


class TestRow:
    def test_columns_of_every_kind(self, engine_of_many_heads):
        text = engine_of_many_heads("It is late. Anna lives in Oslo.")
        row = text.to_row()
        assert list(row) == [
            *("text", "topic", "topic_score", "flags", "urgency", "entities", "summary"),
            *("embedding", "short"),
        ]
        assert (row["topic"], row["topic_score"]) == (text["topic"].label, text["topic"].score)
        assert row["flags"] == list(text["flags"].labels)
        assert row["summary"] == text["summary"].to_dict()["sentences"]
        assert len(row["embedding"]) == 8
        assert row["short"] == text["short"].text != ""
        assert json.loads(json.dumps(row)) == row
        pair = engine_of_many_heads(("is anna late?", "Anna lives in Oslo")).to_row()
        assert list(pair) == [
            *("query", "text", "match", "match_score"),
            *("answer", "answer_start", "answer_end", "answer_score", "answer_no_answer"),
        ]

    def test_a_head_keeps_the_column_of_its_name(self):
        found = prediction(
            topic=Classification("a", 0.5, {}), topic_score=Classification("b", 0.25, {})
        )
        for results in (found.results, dict(reversed(found.results.items()))):
            row = Prediction("x", results, tokens=3).to_row()
            assert row["topic_score"] == "b"
            assert row["topic_score_score"] == 0.25

    def test_a_head_takes_no_column_of_the_texts_or_errors(self):
        one = Classification("a", 0.5, {})
        results = {"text": one, "query": one, "error": one}
        row = Prediction("a b", results, tokens=3).to_row()
        assert row["text"] == "a b"
        assert [row[f"{name}_label"] for name in ("text", "query", "error")] == ["a"] * 3
        assert not {"query", "error"} & row.keys()

    def test_a_result_of_a_plugin_is_there_too(self):
        class Foreign:
            def to_dict(self):
                return {"found": [1], "more": 2, "scores": {"a": 1.0}}

        row = prediction(plugin=Foreign()).to_row()
        assert row == {"text": "a b", "plugin": [1], "plugin_more": 2}


def test_without_pandas_the_message_says_what_to_do(monkeypatch, engine):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match="pip install pandas"):
        polyhead.to_pandas(engine.predict(TEXTS))


class TestPandas:
    @pytest.fixture(autouse=True)
    def pandas(self):
        return pytest.importorskip("pandas")

    def test_a_series_of_any_index_is_answered_and_becomes_a_table(self, engine, pandas):
        series = pandas.Series(TEXTS, index=[7, 3, 3])
        predictions = engine.predict(series)
        table = polyhead.to_pandas(predictions)
        assert list(table["text"]) == TEXTS
        assert list(table["topic"]) == [found["topic"].label for found in predictions]
        assert table["topic_score"].dtype == np.float64
        assert list(table.index) == [0, 1, 2]

    def test_missing_values_have_their_error_in_the_last_column(self, engine, pandas):
        series = pandas.Series(["a", None, "b", pandas.NA], dtype="string")
        table = polyhead.to_pandas(engine.predict(series, errors="return"))
        assert table.columns[-1] == "error"
        assert list(table["error"].notna()) == [False, True, False, True]
        assert list(table["topic"].notna()) == [True, False, True, False]
        assert "missing value" in table["error"][3]

    def test_a_frame_is_asked_for_one_column(self, engine, pandas):
        with pytest.raises(InvalidText, match="found DataFrame, expected one column"):
            engine.predict(pandas.DataFrame({"text": TEXTS}))

    def test_no_and_only_errors_and_one_prediction(self, engine):
        assert len(polyhead.to_pandas([])) == 0
        table = polyhead.to_pandas([InputError("no"), None])
        assert (list(table.columns), len(table)) == (["error"], 2)
        assert list(polyhead.to_pandas(engine("a"))["text"]) == ["a"]


def test_the_names_of_the_module_are_the_public_ones():
    assert dir(polyhead) == sorted(polyhead.__all__)
    assert "to_pandas" in dir(polyhead)
