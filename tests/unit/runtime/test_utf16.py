"""Offsets for JavaScript, and offsets of code points they are made of."""

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, processors

from polyhead import Engine, load
from polyhead.inference.session import OnnxSession
from polyhead.prediction import utf16_offsets
from polyhead.text.tokenizer import Tokenizer

PIECES = (
    *("anna", "late", "Oslo", ". ", " ", "! ", "\t", "\r\n", "\n\n", "\u00a0", "\u200b", "\u200d"),
    *("İ", "ß", "ﬃ", "ŉ", "ǰ", "Σ", "é", "e\u0301", "a\u0308\u0323", "각", "\u1100\u1161\u11a8"),
    *("東京", "𠮷", "日本語", "עברית", "عربي", "हिन्दी", "ไทย", "𝄞", "Ω", "ﷺ", "\ufeff", "\0"),
    *(
        "👍",
        "👍🏽",
        "👩\u200d💻",
        "🇳🇴",
        "🏴\U000e0067\U000e007f",
        "1\ufe0f\u20e3",
        "🧑🏿\u200d🚀",
        "\U0010ffff",
    ),
)
TEXTS = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    max_size=30,
).map("".join)


def slice_(text: str, start: int, end: int) -> str:
    """What `text.slice(start, end)` is in JavaScript."""
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le", "surrogatepass")


def spans(prediction):
    """Every part of the text that a result names: its text, start and end."""
    results = prediction.results
    if "entities" in results:
        yield from ((s.text, s.start, s.end) for s in results["entities"].spans)
    if "summary" in results:
        yield from ((s.text, s.start, s.end) for s in results["summary"].sentences)
    if "short" in results:
        yield from ((s.text, s.start, s.end) for s in results["short"].spans)
    if "answer" in results:
        answer = results["answer"]
        yield from ((s.text, s.start, s.end) for s in (answer, *answer.candidates))


@given(text=TEXTS)
def test_an_offset_counts_the_units_before_it(text):
    place = utf16_offsets(text)
    for offset in range(len(text) + 1):
        assert place(offset) == len(text[:offset].encode("utf-16-le")) // 2


def lower_casing() -> Tokenizer:
    """A tokenizer whose normaliser changes the length of many characters: lower case, NFKD."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({c for p in PIECES for c in p.lower()})]
    pieces += ["##" + piece for piece in pieces[4:]]
    pieces += ["s", "##s", "f", "##f", "i", "##i", "##\u0307", "late", "anna"]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    found = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    found.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()])
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return Tokenizer(found)


class Folded:
    """Token ids of another tokenizer for a graph with a smaller vocabulary."""

    def __init__(self, session: OnnxSession, size: int) -> None:
        self._session, self._size, self.inputs = session, size, session.inputs

    def run(self, outputs, feeds):
        return self._session.run(outputs, {**feeds, "input_ids": feeds["input_ids"] % self._size})

    def info(self):
        return {}


@pytest.fixture(scope="module", params=["bert", "lower_case_nfkd", "byte_bpe"])
def engine(request, many_heads):
    if request.param == "bert":
        with load(many_heads, threads=1) as engine:
            yield engine
        return
    tokenizer = lower_casing()
    if request.param == "byte_bpe":
        tokenizer = request.getfixturevalue("byte_bpe")
    with load(many_heads, threads=1) as other:
        heads, size = other.heads, other.tokenizer.vocabulary_size
    backend = Folded(OnnxSession(many_heads / "model.onnx"), size)
    with Engine(backend, tokenizer, heads, max_tokens=24, threads=1) as engine:
        yield engine


@settings(max_examples=60)
@given(text=TEXTS, query=TEXTS.map(lambda text: text[:4]))
def test_every_kind_of_result_gives_the_same_text_in_javascript(engine, text, query):
    options = {"summary": {"k": 3}, "answer": {"n": 3}}
    for found in engine.predict([text, (query, text)], options=options, errors="return"):
        if isinstance(found, Exception):  # a first text that leaves no room
            continue
        moved = found.utf16()
        assert moved.text == text
        for said, start, end in spans(found):
            assert said == text[start:end]
        before, after = list(spans(found)), list(spans(moved))
        assert len(before) == len(after)
        for (said, *_), (same, start, end) in zip(before, after, strict=True):
            assert said == same == slice_(text, start, end)


@pytest.mark.parametrize("text", ["", "plain", "né à 東京"])
def test_offsets_stay_where_all_characters_are_one_unit(engine, text):
    assert engine(text).utf16().to_dict() == engine(text).to_dict()


def test_a_known_text(engine_of_many_heads):
    text = "👍👍 Anna. 東京 𠮷 late!"
    found = engine_of_many_heads(text, heads=["summary"], options={"summary": {"k": 9}})
    last = found["summary"].sentences[-1]
    moved = found.utf16()["summary"].sentences[-1]
    assert (last.start, last.end) == (9, 19)
    assert (moved.start, moved.end) == (11, 22)
