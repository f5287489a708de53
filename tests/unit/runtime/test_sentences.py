# ruff: noqa: RUF001 - the marks of many scripts are the subject
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead.text.sentences import NEVER, NUMBERED, SOMETIMES, STARTERS, split

PIECES = st.sampled_from(
    [
        *" \n\t\r.!?…。！？．｡।؟\"'“”‘’«»()[]「」『』（）¿¡,;:-–",
        *[" ", ". ", "。", '." ', "\n\n", "\n- ", "(ii) ", "1", "3.14", "ii"],
        *["Dr", "U.S", "e.g", "No", "Fig", "J", "The", "the", "She", "\u00a0", "\u2029", "\u200b"],
        *["他", "と", "か", "é", "e\u0301", "🙂", "नमस्ते", "مرحبا", "\x85"],
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=40)

CASES = {
    "one": ["One sentence."],
    "no_mark": ["no mark at all"],
    "three_marks": ["It works.", "Does it?", "It does!"],
    "runs": ["What?!", "Well...", "Oh…", "Fine."],
    "ellipsis_goes_on": ["Wait... what happened?", "I… see."],
    "spaced_dots": ["No. . . .", "Yes."],
    "decimals": ["It costs 3.14 euros.", "Then 1,000.50 more."],
    "versions_and_times": ["Version 1.2.3 came at 5.30 today.", "Take v2.0."],
    "addresses": ["See https://a.example/b.html?c=d!e for more.", "Ask me@mail.example."],
    "address_at_the_end": ["Visit www.example.org.", "It is free."],
    "titles": ["Dr. Smith met Mrs. Jones on St. Mark's Square.", "They spoke."],
    "latin": ["Some, e.g. Paris, i.e. The City, cf. Rome vs. Milan, stay.", "Others go."],
    "et_al": ["Vaswani et al. (2017) and Devlin et al. BERT.", "So did Liu et al.", "We do not."],
    "etc_ends": ["Apples, pears, etc.", "The rest is lost."],
    "etc_goes_on": ["Apples, pears, etc. are fruit."],
    "etc_in_brackets": ["We read much (books, papers, etc.).", "Adam does not."],
    "country_ends": ["He lives in the U.S.", "The next year he left."],
    "country_goes_on": ["The U.S. Senate met at 5 p.m. Eastern time."],
    "initials": ["J. R. R. Tolkien wrote it.", "J. A. Smith read it."],
    "figures": ["Fig. 3 and Eq. (4) show it, as does Sec. IV.", "We agree."],
    "number_or_no": ["No. 5 is alive.", "No.", "He is not."],
    "dates": ["On Mon. Jan. 5 it rained.", "It was Feb.", "The sun was out."],
    "sat_is_a_verb": ["There he sat.", "Bob stood."],
    "companies": ["Acme Inc. Berlin sells it.", "It is made by Acme Ltd.", "They are rich."],
    "lower_case_next": ["The co. is here and approx. ten others."],
    "quoted": ['"He left."', "She stayed."],
    "quoted_question_goes_on": ['"Why?" he asked.', "“No!” she said."],
    "quotes_both_ends": ["“Stop!”", "“Why?”"],
    "brackets": ["(He left.)", "[Really?]", "She stayed (of course)."],
    "german": ["Er sagte: „Komm!“", "Dann ging er, z. B. nach Hause."],
    "german_guillemets": ["»Komm!«", "Er kam."],
    "french": ["« Il est parti ! »", "Elle reste."],
    "spanish": ["¿Qué pasa?", "¡Nada!", "Adiós."],
    "arabic": ["هل أنت هنا؟", "نعم."],
    "hindi": ["यह घर है।", "वह बड़ा है॥"],
    "list_marks_inline": ["1. Install it.", "2. Run it."],
    "enumerated": ["We show two things.", "(i) it works.", "(ii) it is fast."],
    "lower_case_after_question": ["wow!", "is it real?", "yes"],
    "emoji": ["Great!", "🙂 Thanks."],
    "brand": ["I searched Yahoo!", "Nothing came."],
}
UNSPACED = {
    "chinese": ["他走了。", "她来了！", "为什么？", "好；很好。"],
    "chinese_quotes": ["“你好。”", "“再见！”", "他走了。"],
    "chinese_clause_goes_on": ["“你好！”，他说。", "完。"],
    "chinese_half_width": ["他来了!", "她呢?", "走了。"],
    "japanese": ["行く。", "「来る。」", "『好き！』", "（終わり。）"],
    "japanese_quotative": ["「行く！」と彼は言った。", "はい。"],
    "japanese_half_width": ["行く｡", "来る｡"],
    "full_width_stop": ["値は３．１４です．", "次です．"],
    "yahoo_japan": ["Yahoo!ニュースを読む。", "はい。"],
    "ellipsis": ["他……走了。", "好。"],
    "hindi": ["यह है।", "वह है।"],
}
LINES = {
    "blank_line": ("A title\n\nthe text", ["A title", "the text"]),
    "blank_line_with_spaces": ("A title\r\n \t\r\nthe text", ["A title", "the text"]),
    "paragraph_separator": ("one\u2029two", ["one", "two"]),
    "abbreviation_before_a_blank_line": ("Ask Dr.\n\nSmith", ["Ask Dr.", "Smith"]),
    "line_break": ("One line\nand its end. Another", ["One line\nand its end.", "Another"]),
    "windows_line_break": ("One line\r\nand its end.", ["One line\r\nand its end."]),
    "bullets": ("We sell\n- tea\n* milk\n  • jam", ["We sell", "- tea", "* milk", "• jam"]),
    "numbers": ("Do\n1. Mix it\n2) Bake\n(3) Eat", ["Do", "1. Mix it", "2) Bake", "(3) Eat"]),
    "dash_is_no_bullet": ("the\n-5 degrees", ["the\n-5 degrees"]),
}


def sentences(text):
    return [text[start:end] for start, end in split(text)]


@pytest.mark.parametrize("expected", [pytest.param(v, id=k) for k, v in CASES.items()])
def test_sentences_between_spaces(expected):
    assert sentences(" ".join(expected)) == expected


@pytest.mark.parametrize("expected", [pytest.param(v, id=k) for k, v in UNSPACED.items()])
def test_sentences_without_a_space_between(expected):
    assert sentences("".join(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [pytest.param(*case, id=name) for name, case in LINES.items()]
)
def test_line_breaks(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize("text", ["", " ", "\n\n\t", "\u2029", "\u00a0"])
def test_no_text_has_no_sentences(text):
    assert split(text) == []


def test_offsets_are_code_points():
    assert split("  👩‍👩‍👧 e\u0301!  Ok. ") == [(2, 11), (13, 16)]


@given(TEXTS)
def test_every_character_but_white_space_is_in_exactly_one_sentence(text):
    covered = [i for start, end in split(text) for i in range(start, end)]
    assert len(covered) == len(set(covered))
    assert set(covered) >= {i for i, character in enumerate(text) if not character.isspace()}


@given(TEXTS)
def test_sentences_are_in_order_trimmed_and_not_empty(text):
    found = split(text)
    assert all(start < end for start, end in found)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(found))
    assert all(sentence == sentence.strip() for sentence in sentences(text))


@given(TEXTS)
def test_a_sentence_is_one_sentence(text):
    for sentence in sentences(text):
        assert sentences(sentence) == [sentence]


@given(TEXTS, TEXTS)
def test_paragraphs_do_not_see_each_other(one, other):
    assert sentences(one + "\n\n" + other) == sentences(one) + sentences(other)


ADVERSARIAL = [*'."\n。(', '."', "a.", "a. ", ". ", "\n-", "。“", "!他", ".“", "U.S. "]


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_long_texts_of_one_kind(unit):
    text = (unit * 100_000)[:100_000]  # quadratic time would be many minutes
    found = split(text)
    assert sum(end - start for start, end in found) <= len(text)


def test_a_word_is_in_one_list_only():
    assert not NEVER & SOMETIMES
    assert not NUMBERED & (NEVER | SOMETIMES)
    assert all(word[0].isupper() for word in STARTERS)
