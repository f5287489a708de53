"""What a tokenizer.json may hold, and that honest ones do."""

import base64
import itertools
import json

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from polyhead import BundleError, load
from polyhead.bundle import limits
from polyhead.bundle.tokenizer_check import check_tokenizer
from polyhead.text.tokenizer import Tokenizer


def charsmap(trie=bytes(1024), rules=b"fi\0" + b"x" * 33 + b"\0", size=None):
    size = len(trie) if size is None else size
    return base64.b64encode(size.to_bytes(4, "little") + trie + rules).decode()


def made(model, normalizer=None, pre_tokenizer=None, processor=None, decoder=None):
    found = tokenizers.Tokenizer(model)
    for name, value in (
        ("normalizer", normalizer),
        ("pre_tokenizer", pre_tokenizer),
        ("post_processor", processor),
        ("decoder", decoder),
    ):
        if value is not None:
            setattr(found, name, value)
    found.add_special_tokens(["<s>", "</s>"])
    return json.loads(found.to_str())


def honest():
    """The parts that tokenizers of encoders have, as the library writes them."""
    n, p = normalizers, pre_tokenizers
    around = [("<s>", 3), ("</s>", 4)]
    template = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B:1 </s>", around)
    pieces = models.Unigram([("<unk>", 0.0), ("▁a", -1.5), ("b", -7.25)], unk_id=0)
    words = models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]")
    bytes_ = models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.0)
    regex = tokenizers.Regex
    yield "bert", made(words, n.BertNormalizer(), p.BertPreTokenizer(), template)
    metaspace = p.Sequence([p.WhitespaceSplit(), p.Metaspace()])
    albert = [n.Replace("``", '"'), n.Replace("''", '"'), n.NFKD(), n.StripAccents(), n.Lowercase()]
    yield "albert", made(pieces, n.Sequence(albert), metaspace, template, decoders.Metaspace())
    deberta = [n.Strip(), n.Replace(regex(" {2,}"), "▁")]
    yield "deberta-v2", made(pieces, n.Sequence(deberta), p.Metaspace(), template)
    roberta = processors.RobertaProcessing(("</s>", 4), ("<s>", 3))
    yield "roberta", made(bytes_, None, p.ByteLevel(), roberta, decoders.ByteLevel())
    yield "modernbert", made(bytes_, n.NFC(), p.ByteLevel(), template, decoders.ByteLevel())
    clip = n.Sequence([n.NFC(), n.Replace(regex(r"\s+"), " "), n.Lowercase()])
    split = p.Sequence([p.Split(regex(r"'s|\p{L}+"), "removed", invert=True), p.ByteLevel()])
    yield "clip", made(bytes_, clip, split, roberta)
    llama = n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")])
    yield "llama", made(models.BPE({"a": 0}, [], byte_fallback=True), llama)
    yield "no_parts", made(models.WordLevel({"a": 0, "[UNK]": 1}, "[UNK]"))
    xlmr = made(pieces, None, metaspace, template)
    precompiled = {"type": "Precompiled", "precompiled_charsmap": charsmap()}
    yield "xlm-roberta", {**xlmr, "normalizer": precompiled}
    untyped = made(bytes_, None, p.ByteLevel())
    del untyped["model"]["type"]  # as roberta-base's
    yield "untyped_model", untyped


HONEST = dict(honest())
GOOD = HONEST["bert"]


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_tokenizer_passes_and_is_read(tmp_path, name):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(HONEST[name]))
    assert len(Tokenizer.from_file(path).encode(["a b"])) == 1


def replace(pattern="a", content="b", kind="String"):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def sequence(*components):
    return {"type": "Sequence", "normalizers": list(components)}


def template(single, **ids):
    special = {
        name: {"id": name, "ids": found, "tokens": [name] * len(found)}
        for name, found in ids.items()
    }
    pair = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    kind = "TemplateProcessing"
    return {"type": kind, "single": single, "pair": pair, "special_tokens": special}


TEXT = {"Sequence": {"id": "A", "type_id": 0}}
SPECIAL = {"SpecialToken": {"id": "s", "type_id": 0}}
TOKEN = {"id": 9, "content": "x", "special": True} | dict.fromkeys(
    ("single_word", "lstrip", "rstrip", "normalized"), False
)
LOWER = {"type": "Lowercase"}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}
BPE = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
LONGER = replace("a", "b" * 8)
NORMALIZERS = {
    "empty_pattern": (replace(""), "empty pattern"),
    "longer": (replace("a", "b" * 17), "17 times the length of a text"),
    "longer_again_and_again": (sequence(*[replace("a", "aa")] * 5), "32 times the length"),
    "longer_in_sequences": (sequence(sequence(*[replace("ab", "aaa")] * 5)), "32 times"),
    "expression_that_finds_nothing": (replace("b*", "a" * 16, "Regex"), "17 times"),
    "long_expression": (replace("a" * 40_000, "", "Regex"), "characters in one part"),
    "long_prefix": ({"type": "Prepend", "prepend": "y" * 17}, "17 characters of a prefix"),
    "prefix_twice": (sequence(*[{"type": "Prepend", "prepend": "y"}] * 2), "Prepend is there 2"),
    "bytes_twice": (sequence(*[{"type": "ByteLevel"}] * 2), "ByteLevel is there 2 times"),
    "many": (sequence(*[LOWER] * 16), "17 components"),
    "nested": (sequence(sequence(sequence(*[sequence(LOWER)] * 7))), "17 components"),
    "without_type": ({"normalizers": [LOWER]}, "KeyError 'type'"),
    "no_table": ("Lowercase", "TypeError"),
    "charsmap_beyond_its_end": (charsmap(size=2**32 - 4), "4,294,967,292 of them are its trie"),
    "charsmap_of_no_words": (charsmap(trie=bytes(1023)), "1,023 of them are its trie"),
    "charsmap_without_trie": (charsmap(trie=b""), "0 of them are its trie"),
    "charsmap_cut_short": (base64.b64encode(b"abc").decode(), "a charsmap of 3 bytes"),
    "charsmap_that_expands": (charsmap(rules=b"x" * 65 + b"\0"), "65 bytes in place of a char"),
    "charsmap_without_end": (charsmap(rules=b"x" * 65), "65 bytes in place of a character"),
    "charsmap_that_expands_when_decomposed": (charsmap(rules=b"\xef\xb7\xba" * 2), "66 bytes in"),
    "charsmap_no_text": (charsmap(rules=b"\xff\0"), "UnicodeDecodeError"),
    "charsmap_no_base64": ("é", "Error"),
    "charsmap_large": (charsmap(trie=bytes(2**20)), "bytes of a charsmap"),
    "charsmap_null": (None, "TypeError"),
}
OTHERS = {
    "bytes_twice": (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES, BYTES]}},
        "pre_tokenizer: ByteLevel is there 2 times",
    ),
    "many_processors": (
        {"post_processor": {"type": "Sequence", "processors": [BYTES] * 16}},
        "post_processor: 17 components",
    ),
    "many_decoders": (
        {"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}] * 16}},
        "decoder: 17 components",
    ),
    "many_special_tokens": (
        {"post_processor": template([*[SPECIAL] * 65, TEXT], s=[1])},
        "65 special tokens",
    ),
    "special_token_of_many_ids": (
        {"post_processor": template([SPECIAL, TEXT], s=[1] * 65)},
        "65 special tokens",
    ),
    "text_twice": ({"post_processor": template([TEXT, TEXT])}, "expected each of ['A'] once"),
    "no_text": ({"post_processor": template([SPECIAL], s=[1])}, "has the texts []"),
    "many_added": ({"added_tokens": [TOKEN] * 10_001}, "10,001 added tokens"),
    "long_added": ({"added_tokens": [{**TOKEN, "content": "x" * 257}]}, "257 characters in an"),
    "much_added": (
        {"added_tokens": [{**TOKEN, "content": "\ufdfa" * 256}] * 300},
        "2,534,400 bytes in all added tokens, when normalised",
    ),
    "much_added_when_replaced": (
        {"added_tokens": [{**TOKEN, "content": "a" * 256}] * 1_000, "normalizer": LONGER},
        "2,048,000 bytes in all added tokens, when normalised",
    ),
    "empty_added": ({"added_tokens": [{**TOKEN, "content": ""}]}, "an added token is empty"),
    "dropout": ({"model": {**BPE, "dropout": 0.5}}, "dropout 0.5 draws tokens by chance"),
    "long_prefix": ({"model": {**BPE, "continuing_subword_prefix": "#" * 17}}, "17 characters"),
    "long_suffix": ({"model": {**BPE, "end_of_word_suffix": "#" * 17}}, "17 characters"),
    "long_unknown": ({"model": {**BPE, "unk_token": "#" * 257}}, "257 characters"),
    "long_words": (
        {"model": {**GOOD["model"], "max_input_chars_per_word": 2**62}},
        "characters of a word that is looked up",
    ),
    "long_token": ({"model": {**BPE, "vocab": {"a" * 4_097: 0}}}, "4,097 characters in a token"),
    "many_merges": ({"model": {**BPE, "merges": [0] * (2**20 + 1)}}, "1,048,577 tokens or merges"),
    "infinite_score": (
        {"model": {"type": "Unigram", "vocab": [["a", -1e308], ["b", -1e308]]}},
        "its scores are too large",
    ),
    "much_text_in_pieces": (
        {"model": {"type": "Unigram", "vocab": [["é" * 3_000 + str(i), -1] for i in range(2_700)]}},
        "bytes of all pieces",
    ),
    "no_model": ({"model": None}, "not the tokenizer.json of a fast tokenizer"),
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_a_normalizer_that_no_honest_tokenizer_has_is_refused(name):
    component, message = NORMALIZERS[name]
    if name.startswith("charsmap"):
        component = {"type": "Precompiled", "precompiled_charsmap": component}
    with pytest.raises(BundleError) as caught:
        check_tokenizer(json.dumps({**GOOD, "normalizer": component}).encode(), "t.json")
    assert message in str(caught.value)
    assert str(caught.value).startswith("t.json: ")


@pytest.mark.parametrize("name", OTHERS)
def test_another_part_that_no_honest_tokenizer_has_is_refused(name):
    change, message = OTHERS[name]
    with pytest.raises(BundleError) as caught:
        check_tokenizer(json.dumps({**GOOD, **change}).encode(), "t.json")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"model": 1, "model": 2}', "'model' is duplicated", id="a_key_twice"),
        pytest.param('{"model": NaN}', "NaN is not a JSON number", id="nan"),
        pytest.param("\ufeff{}", "not valid JSON", id="byte_order_mark"),
        pytest.param("[" + "[]," * 1_100_000, "lists and tables", id="many_lists"),
        pytest.param("," * 2_200_001, "commas in a tokenizer", id="many_values"),
        pytest.param(" " * (limits.TOKENIZER_BYTES.most + 1), "bytes of a tokenizer", id="large"),
    ],
)
def test_json_that_two_readers_could_read_in_two_ways_is_refused(text, message):
    with pytest.raises(BundleError, match=message):
        check_tokenizer(text.encode(), "t.json")


def test_the_largest_that_is_allowed_passes(tmp_path):
    growing = sequence(*[replace("a", "aa")] * 4, replace("b", "c"), {"type": "ByteLevel"})
    special = template([*[SPECIAL] * 64, TEXT], s=[1])
    added = [{**TOKEN, "id": 9 + i, "content": f"{i:x>256}"} for i in range(400)]
    path = tmp_path / "tokenizer.json"
    data = {**GOOD, "normalizer": growing, "post_processor": special, "added_tokens": added}
    path.write_text(json.dumps(data))
    assert len(Tokenizer.from_file(path).encode(["a"])[0]) == 65


def test_a_bundle_with_such_a_tokenizer_is_not_loaded(bundle_copy, edit_json, reseal):
    edit_json(bundle_copy / "tokenizer.json", lambda data: data.update(normalizer=replace("")))
    reseal(bundle_copy)
    with pytest.raises(BundleError, match=r"tokenizer\.json: normalizer: Replace has an empty"):
        load(bundle_copy)


def unigram(pieces):
    vocabulary = [["<unk>", 0.0], *([piece, -9.5] for piece in pieces)]
    return json.dumps({**GOOD, "model": {"type": "Unigram", "unk_id": 0, "vocab": vocabulary}})


def test_half_a_million_pieces_that_are_like_words_pass():
    syllables = ["".join(each) for each in itertools.product("bdfgklmnprstvwxz", "aeiou")]
    words = itertools.product(syllables, repeat=3)
    check_tokenizer(unigram("▁" + "".join(word) for word in words).encode(), "t.json")


def test_pieces_that_have_nothing_in_common_are_refused():
    pieces = (f"{n:06}"[::-1].ljust(40, "q") for n in range(100_000))
    with pytest.raises(BundleError, match="different beginnings of pieces of a Unigram model, at"):
        check_tokenizer(unigram(pieces).encode(), "t.json")
