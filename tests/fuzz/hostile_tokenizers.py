"""Tokenizers of somebody who wants harm: each attack changes the plain data of a good one."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

Data = dict[str, Any]
Attack = Callable[[Data, random.Random], None]
REFUSED: list[Attack] = []
"""Attacks that must end in an error or an answer, soon and in little memory."""
BOUNDED: list[Attack] = []
"""Attacks that look honest, for `polyhead verify --isolated`."""

_PARTS = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
_PLAIN = {
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
    "decoder": {"type": "Fuse"},
}


def _size(random_: random.Random, most: float = 2e7) -> int:
    """Sizes of all magnitudes, small ones too."""
    return int(most ** random_.random())


def _put(data: Data, part: str, random_: random.Random, *components: Data) -> None:
    """Into a part: in its place, before or behind it, or some levels down."""
    before = data[part]
    found = list(components)
    if before is not None and random_.random() < 0.5:
        found.insert(random_.choice((0, len(found))), before)
    whole: Data = {"type": "Sequence", _PARTS[part]: found} if len(found) > 1 else found[0]
    for _ in range(random_.choice((0, 0, 1, 3))):
        whole = {"type": "Sequence", _PARTS[part]: [whole]}
    if random_.random() < 0.1:
        del whole["type"]
    data[part] = whole


def _replace(pattern: str, content: str, kind: str = "String") -> Data:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def _refused(attack: Attack) -> Attack:
    REFUSED.append(attack)
    return attack


def _bounded(attack: Attack) -> Attack:
    BOUNDED.append(attack)
    return attack


@_refused
def replace_of_nothing(data: Data, random_: random.Random) -> None:
    _put(data, "normalizer", random_, _replace("", "x" * _size(random_)))


@_refused
def replace_that_doubles(data: Data, random_: random.Random) -> None:
    content = "a" * random_.choice((2, 3, 17))
    pattern, kind = random_.choice((("a", "String"), ("a", "Regex"), ("b*", "Regex")))
    times = _size(random_, 2000)
    _put(data, "normalizer", random_, *[_replace(pattern, content, kind)] * times)


@_refused
def prepend(data: Data, random_: random.Random) -> None:
    component = {"type": "Prepend", "prepend": "y " * _size(random_)}
    _put(data, "normalizer", random_, *[component] * random_.choice((1, 1, 9)))


@_refused
def bytes_as_characters_again_and_again(data: Data, random_: random.Random) -> None:
    times = _size(random_, 60)
    if random_.random() < 0.5:
        _put(data, "normalizer", random_, *[{"type": "ByteLevel"}] * times)
    else:
        level = {**_PLAIN["post_processor"], "use_regex": False}
        _put(data, "pre_tokenizer", random_, *[level] * times)


@_refused
def charsmap(data: Data, random_: random.Random) -> None:
    trie = random_.randbytes(random_.choice((0, 3, 4, 1024)))
    size = random_.choice((len(trie), 0, 2**31, 2**32 - 1, random_.randrange(2**32)))
    rules = random_.choice((b"", b"a\0bc\0", b"x" * _size(random_), random_.randbytes(64)))
    content = base64.b64encode(size.to_bytes(4, "little") + trie + rules).decode()
    content = random_.choice((content, content, content[:-3], "////////" + "A" * 400, "", "é"))
    component = {"type": "Precompiled", "precompiled_charsmap": content}
    _put(data, "normalizer", random_, *[component] * random_.choice((1, 1, 2)))


@_refused
def nested(data: Data, random_: random.Random) -> None:
    part = random_.choice(list(_PARTS))
    whole = _PLAIN[part]
    for level in range(_size(random_, 300)):
        width = random_.choice((1, 1, 2)) if level < 12 else 1
        whole = {"type": "Sequence", _PARTS[part]: [whole] * width}
    data[part] = whole


@_refused
def side_by_side(data: Data, random_: random.Random) -> None:
    part = random_.choice(list(_PARTS))
    _put(data, part, random_, *[_PLAIN[part]] * _size(random_, 3e5))


def _template(data: Data) -> tuple[Data, str]:
    name, text = "[CLS]", {"Sequence": {"id": "A", "type_id": 0}}
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [text],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [2], "tokens": [name]}},
    }
    return data["post_processor"], name


@_refused
def special_tokens(data: Data, random_: random.Random) -> None:
    template, name = _template(data)
    piece = {"SpecialToken": {"id": name, "type_id": random_.choice((0, 2**31))}}
    template[random_.choice(("single", "pair"))][:0] = [piece] * _size(random_, 1e6)


@_refused
def special_token_of_many_ids(data: Data, random_: random.Random) -> None:
    template, name = _template(data)
    count = _size(random_, 1e6)
    template["single"] += [{"SpecialToken": {"id": name, "type_id": 0}}]
    template["special_tokens"][name].update(ids=[2] * count, tokens=[name] * count)


@_refused
def texts_in_the_template(data: Data, random_: random.Random) -> None:
    template, _ = _template(data)
    template["single"] *= _size(random_, 1e5)


@_refused
def added_tokens(data: Data, random_: random.Random) -> None:
    options = {name: random_.random() < 0.5 for name in ("lstrip", "rstrip", "normalized")}
    count = random_.choice((1, _size(random_, 3e5)))
    length = _size(random_, 2e7 / count)
    data["added_tokens"] = [
        *data["added_tokens"],
        *(
            {"id": 10**6 + n, "content": f"{n}z".ljust(length, "z")[:length]}
            | {"single_word": False, "special": random_.random() < 0.5, **options}
            for n in range(count)
        ),
    ]


@_refused
def empty_added_token(data: Data, random_: random.Random) -> None:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), True)
    data["added_tokens"].append({"id": random_.choice((1, 10**6)), "content": "", **flags})


@_refused
def by_chance(data: Data, random_: random.Random) -> None:
    vocabulary = {c: i for i, c in enumerate("abehlortsiw !,")} | {"aa": 14, "he": 15}
    data["model"] = {"type": "BPE", "dropout": random_.random(), "unk_token": None}
    data["model"] |= {"vocab": vocabulary, "merges": [["a", "a"], ["h", "e"]]}


@_refused
def long_affixes(data: Data, random_: random.Random) -> None:
    kind = random_.choice(("BPE", "WordPiece"))
    data["model"] = {"type": kind, "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}
    name = random_.choice(("continuing_subword_prefix", "end_of_word_suffix"))
    data["model"] |= {name: "#" * _size(random_), "max_input_chars_per_word": 2**40}
    if kind == "BPE":
        data["model"]["merges"] = []


@_refused
def long_words(data: Data, random_: random.Random) -> None:
    data["model"]["max_input_chars_per_word"] = random_.choice((101, 10**6, 2**62, 2**70, -1))


@_refused
def merges_that_make_themselves(data: Data, _: random.Random) -> None:
    merges = [["a", ""], ["", "a"], ["a", "a"], ["aa", ""]]
    vocabulary = {"a": 0, "aa": 1, "": 2, "h": 3}
    data["model"] = {"type": "BPE", "vocab": vocabulary, "merges": merges}


@_refused
def pieces(data: Data, random_: random.Random) -> None:
    count = random_.choice((1, 40, _size(random_, 3e5)))
    length, score = _size(random_, 2e7 / count), random_.choice((-1.0, 1e308, -1e308, 0))
    vocabulary = [[f"{n}q".ljust(length, "q"), score] for n in range(count)]
    data["model"] = {"type": "Unigram", "unk_id": random_.choice((0, None, count, 2**40))}
    data["model"] |= {"vocab": vocabulary, "byte_fallback": random_.random() < 0.5}


@_refused
def many_tokens(data: Data, random_: random.Random) -> None:
    first = random_.choice((0, 10**6, 2**32 - 9, 2**63, -5))
    words = {f"w{n}": first + n for n in range(_size(random_, 2e6))}
    data["model"]["vocab"] = {**data["model"]["vocab"], **words}


@_refused
def odd_pieces_of_text(data: Data, random_: random.Random) -> None:
    split = {"type": "Split", "behavior": "Isolated", "invert": random_.random() < 0.5}
    component = random_.choice(
        (
            {"type": "FixedLength", "length": random_.choice((0, 1, 2**62, -1))},
            {**split, "pattern": {"String": ""}},
            {**split, "pattern": {"Regex": random_.choice(("", "(?=)", "(a*)*\\1b", "(a+)+$"))}},
            {"type": "Metaspace", "replacement": "▁▁", "prepend_scheme": "always"},
            {"type": "Digits", "individual_digits": True},
        )
    )
    _put(data, "pre_tokenizer", random_, *[component] * random_.choice((1, 5)))


@_refused
def settings_of_lengths(data: Data, random_: random.Random) -> None:
    number = random_.choice((0, 1, 2**40, 2**64))
    data["truncation"] = {"direction": "Right", "max_length": number, "strategy": "LongestFirst"}
    data["truncation"] |= {"stride": random_.choice((0, 2**40))}
    data["padding"] = {"strategy": {"Fixed": number}, "direction": "Right"}
    data["padding"] |= {"pad_to_multiple_of": number, "pad_id": 0, "pad_type_id": 0}
    data["padding"]["pad_token"] = "[PAD]"


@_refused
def no_text(data: Data, random_: random.Random) -> None:
    lone = random_.choice(("\ud800", "\0", "\x1b[2J", "\u202e"))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    data["added_tokens"].append({"id": 900, "content": lone, **flags})


@_bounded
def slow_expression(data: Data, random_: random.Random) -> None:
    """Below the library's own limit of retries at each character, and slow at each."""
    pattern = {"Regex": ".*" * random_.randint(2, 3) + "[^\\s\\S]"}
    data["normalizer"] = {"type": "Replace", "pattern": pattern, "content": ""}


def hostile(good: bytes, random_: random.Random, attacks: list[Attack]) -> tuple[bytes, list[str]]:
    """A tokenizer with one to three attacks, and their names; sometimes its JSON is no better."""
    data: Data = json.loads(good)
    chosen = random_.sample(attacks, min(len(attacks), random_.choice((1, 1, 1, 2, 3))))
    for attack in chosen:
        attack(data, random_)
    text = json.dumps(data, allow_nan=True)
    if attacks is REFUSED and random_.random() < 0.15:
        text = random_.choice(
            (
                text[:-1] + ', "normalizer": null}',
                text.replace('"type"', '"type": "Lowercase", "type"', 1),
                text[:-1] + ', "more": ' + "[" * 99_999 + "]" * 99_999 + "}",
                text[:-1] + ', "more": [' + "[]," * _size(random_, 1e7) + "0]}",
                text.replace(": 0", ": NaN", 1),
                "\ufeff" + text,
            )
        )
    names = [attack.__name__ for attack in chosen]
    return text.encode("utf-8", "surrogatepass"), names
