"""Special tokens in a user's text: plain text, or the tokens themselves, as the bundle says."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors

from polyhead import load
from polyhead.bundle import read
from polyhead.cli.main import main
from polyhead.text.tokenizer import Tokenizer

CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ<>/[]"
T5 = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ADDED = AddedToken("<mask>", special=True, lstrip=True, normalized=True)


def framed(tokenizer, special, pre, normalizer=None):
    """With a separator behind each text, and `special` as its added tokens."""
    names = [token if isinstance(token, str) else token.content for token in special]
    first, last = ("<s>", "</s>") if "<s>" in names else ("[CLS]", "[SEP]")
    tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (first, last)],
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


def unigram():
    """XLM-R and its kin: the special tokens are pieces of the best score there is."""
    pieces = [*((t, 0.0) for t in T5), ("▁", -3.0), ("</", -4.5), *((c, -5.0) for c in CHARACTERS)]
    made = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3))
    return framed(made, [*T5[:4], ADDED], pre_tokenizers.Metaspace(), normalizers.NFKC())


def merging():
    """A BPE whose merges lead to the special token, without a pre-tokenizer."""
    pieces = [*T5, "▁", *CHARACTERS, "</", "s>"]
    merges = [("<", "/"), ("s", ">"), ("</", "s>")]
    made = tokenizers.Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>")
    )
    return framed(made, T5, None, normalizers.Replace(" ", "▁"))


def whole_words():
    vocabulary = {p: i for i, p in enumerate([*BERT, "a", "b", "the"])}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    return framed(made, BERT, pre_tokenizers.WhitespaceSplit())


def cased():
    """Word pieces between blanks: ``[SEP]`` is a piece that the model finds."""
    pieces = [*BERT, *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]
    made = tokenizers.Tokenizer(
        models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]")
    )
    return framed(made, BERT, pre_tokenizers.WhitespaceSplit())


def separator_not_special():
    """The separator is an added token like any other."""
    made = cased()
    made.add_tokens([AddedToken(token, special=False) for token in BERT])
    data = json.loads(made.to_str())
    for token in data["added_tokens"]:
        token["special"] = token["content"] != "[SEP]"
    return tokenizers.Tokenizer.from_str(json.dumps(data))


FAMILIES = {f.__name__: f for f in (unigram, merging, whole_words, cased, separator_not_special)}


@pytest.fixture(params=["wordpiece", "byte_bpe", *FAMILIES])
def raw(request):
    """A tokenizer of the library, as `tokenizer.json` gives it."""
    if request.param in FAMILIES:
        return FAMILIES[request.param]()
    return tokenizers.Tokenizer.from_str(request.getfixturevalue(f"{request.param}_json"))


def special_of(raw):
    """Ids of special tokens by content."""
    return {t.content: n for n, t in raw.get_added_tokens_decoder().items()}


def texts_with(special):
    return [form for s in special for form in (s, f"a {s} b", f"a{s}b", f"{s}{s}", f" {s} ")]


def body(encoding):
    return encoding.ids[~encoding.special].tolist()


def test_no_text_becomes_a_special_token(raw):
    special, unknown = special_of(raw), raw.token_to_id("[UNK]") or raw.token_to_id("<unk>")
    own = Tokenizer(raw, "text")
    for text in [*texts_with(special), "a \uff1c/s\uff1e b"]:
        (encoding,) = own.encode([text])
        assert not set(body(encoding)) & (set(special.values()) - {unknown}), text
        for start, end in encoding.offsets[~encoding.special]:
            assert text[start:end] not in special


def test_offsets_are_those_of_the_characters(raw):
    for text in texts_with(special_of(raw)):
        (encoding,) = Tokenizer(raw, "text").encode([text])
        places = encoding.offsets[~encoding.special]
        covered = {i for start, end in places for i in range(start, end) if text[i] != " "}
        assert covered == {i for i, character in enumerate(text) if character != " "}
        assert (np.diff(places[:, 0]) >= 0).all()


def test_a_pair_cannot_be_made_another_pair(raw):
    number, count = raw.encode("").ids[-1], raw.encode("", "").ids.count(raw.encode("").ids[-1])
    last = raw.id_to_token(number)
    own = Tokenizer(raw, "text")
    one, other = own.encode([(f"a {last} b", "c"), ("a", f"b {last} c")])
    assert one.ids.tolist() != other.ids.tolist()
    assert [encoding.ids.tolist().count(number) for encoding in (one, other)] == [count, count]


def test_parsed_they_are_the_tokens_as_in_the_library(raw):
    own = Tokenizer(tokenizers.Tokenizer.from_str(raw.to_str()))
    for text in texts_with(special_of(raw)):
        assert own.encode([text])[0].ids.tolist() == raw.encode(text).ids


def test_texts_without_them_are_read_alike_either_way(raw):
    text, parsed = (
        Tokenizer(tokenizers.Tokenizer.from_str(raw.to_str()), how) for how in ("text", "parse")
    )

    @given(st.text(alphabet="ab< >/ [é東\n", max_size=20))
    def alike(given_text):
        one, other = (t.encode([given_text])[0] for t in (text, parsed))
        assert one.ids.tolist() == other.ids.tolist()
        assert one.offsets.tolist() == other.offsets.tolist()

    alike()


def test_other_added_tokens_stay_tokens():
    raw = cased()
    raw.add_tokens([AddedToken("<url>", special=False)])
    (encoding,) = Tokenizer(raw, "text").encode(["a <url> [SEP]"])
    assert body(encoding)[1] == raw.token_to_id("<url>")
    assert raw.token_to_id("[SEP]") not in body(encoding)


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda one: pickle.loads(pickle.dumps(one)),
        lambda one: Tokenizer.from_json(one.to_json(), one.special_tokens),
        lambda one: one.reading("parse").reading("text"),
    ],
    ids=["deepcopy", "pickle", "json", "there and back"],
)
def test_a_copy_reads_alike(raw, copied):
    own = Tokenizer(raw, "text")
    again = copied(own)
    assert again.special_tokens == "text"
    assert again.to_json() == own.to_json()
    texts = texts_with(special_of(raw))
    for one, other in zip(own.encode(texts), again.encode(texts), strict=True):
        assert one.ids.tolist() == other.ids.tolist()


def test_threads_read_alike(raw):
    own, texts = Tokenizer(raw, "text"), texts_with(special_of(raw))
    expected = [e.ids.tolist() for e in own.encode(texts)]
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: own.encode(texts), range(40)):
            assert [e.ids.tolist() for e in found] == expected


@pytest.fixture(scope="module")
def as_text(make_bundle, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("text") / "bundle", special_tokens="text")


TEXT = "anna [SEP] late [UNK]"


def test_the_engine_reads_as_the_manifest_says(as_text, bundle, wordpiece_json):
    raw = tokenizers.Tokenizer.from_str(wordpiece_json)
    parsed = raw.encode(TEXT).ids
    raw.encode_special_tokens = True
    for path, how, ids in ((as_text, "text", raw.encode(TEXT).ids), (bundle, "parse", parsed)):
        with load(path) as engine, pickle.loads(pickle.dumps(engine)) as again:
            assert engine.encode([TEXT])[0].ids.tolist() == ids
            assert again.encode([TEXT])[0].ids.tolist() == ids
            assert engine.info()["special_tokens"] == how
            engine.reload()
            assert engine.encode([TEXT])[0].ids.tolist() == ids


def test_a_manifest_without_the_field_is_parsed(bundle):
    assert read(bundle).manifest.special_tokens == "parse"


@pytest.mark.parametrize("first", ["as_text", "bundle"])
def test_bundles_side_by_side_each_read_in_their_own_way(first, as_text, bundle):
    paths = [as_text, bundle] if first == "as_text" else [bundle, as_text]
    with load(*paths, prefix=["one-", "other-"]) as both:
        found, parts = both(TEXT), both.info()["sub_models"]
        for path, prefix, part in zip(paths, ("one-", "other-"), parts, strict=True):
            assert part["special_tokens"] == read(path).manifest.special_tokens
            with load(path) as alone:
                expected = alone(TEXT)["topic"]
            assert found[f"{prefix}topic"].scores == expected.scores


@pytest.mark.parametrize(("path", "said"), [("as_text", "plain text"), ("bundle", "themselves")])
def test_inspect_says_it(path, said, request, capsys):
    assert main(["inspect", str(request.getfixturevalue(path))]) == 0
    assert f"special tokens in texts are read as {said}" in capsys.readouterr().out.replace(
        "the tokens ", ""
    )
