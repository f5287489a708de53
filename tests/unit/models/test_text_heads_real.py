"""Real questions, summaries, pairs and parts of speech, where POLYHEAD_DATA names them.

The counts are those of the corpora's own descriptions.
"""

import os
from pathlib import Path

import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead_models.config import Config, DataConfig, EncoderConfig, HeadConfig
from polyhead_models.data import examples
from polyhead_models.errors import DataError
from polyhead_models.heads import NETWORKS

DATA = Path(os.environ.get("POLYHEAD_DATA", "."))
pytestmark = pytest.mark.skipif("POLYHEAD_DATA" not in os.environ, reason="no POLYHEAD_DATA")

SQUAD = {"format": "squad"}
ANSWER = {"kind": "answer", "text": ("question", "context"), "target": "answers"}
SUMMARY = {"kind": "summary", "text": "source", "target": "source_labels", "summaries": "target"}
WORDS = {"format": "conll", "columns": ("words", "tags", "_")}


def load(place, settings, head):
    """The examples of a file for one head."""
    if not (DATA / place).exists():
        pytest.skip(f"no {place}")
    made = Config(
        encoder=EncoderConfig(name="none"),
        data={"it": DataConfig(train=str(DATA / place), **settings)},
        heads={"it": HeadConfig(data="it", **head)},
    )
    return examples.load(made, "train")


@pytest.mark.parametrize(
    ("place", "questions", "contexts"),
    [
        ("qa/squadshifts-en/new_wiki_v1.0.json", 7938, 1581),
        ("qa/squadshifts-en/reddit_v1.0.json", 9803, 2035),
        ("qa/squadshifts-en/amazon_reviews_v1.0.json", 9885, 2050),
        ("qa/xquad/xquad.en.json", 1190, 240),
        ("qa/xquad/xquad.zh.json", 1190, 240),
    ],
)
def test_every_question_has_answers_in_its_context(place, questions, contexts):
    found = load(place, SQUAD, ANSWER)
    assert len(found) == questions
    # Amazon has two paragraphs, Reddit some, with the same text.
    assert contexts * 0.98 < len({e.text[1] for e in found}) <= contexts
    for example in found:
        reference = example.references["it"]
        assert reference.texts, example.where
        assert all(
            example.text[1][a:b] == text
            for (a, b), text in zip(reference.spans, reference.texts, strict=True)
        )
        assert len(set(reference.spans)) == len(reference.spans)


def test_answers_that_are_not_where_they_say_are_named_by_their_question():
    with pytest.raises(DataError, match=r"question 'DEV_6_QUERY_2': .* at -1 is outside"):
        load("qa/cmrc2018-zh/cmrc2018_dev.json", SQUAD, ANSWER)


@pytest.mark.parametrize(("split", "count"), [("train", 1992), ("dev", 619), ("test", 618)])
def test_papers_have_one_salient_sentence_and_summaries_in_other_words(split, count):
    found = load(f"summarization/scitldr/{split}.jsonl", {}, SUMMARY)
    references = [e.references["it"] for e in found]
    assert len(found) == count
    assert {len(reference.spans) for reference in references} == {1}
    assert {len(reference.texts) for reference in references} <= {1, 2, 3, 4, 5}
    assert all(e.text[a:b].strip() for e in found for a, b in e.references["it"].spans)


def test_nearly_every_paper_has_a_sentence_of_the_decoders_that_is_salient(wordpiece):
    found = load("summarization/scitldr/dev.jsonl", {}, SUMMARY)[:200]
    spec = HeadSpec(kind="summary.v1", output="x", max_tokens=4096)
    head = NETWORKS["summary.v1"](spec, width=8, depth=1)
    encodings = wordpiece.encode([e.text for e in found])
    pairs = zip(found, encodings, strict=True)
    targets = [head.target(e.references["it"], encoding) for e, encoding in pairs]
    # A mark on the smaller part of what the decoder takes for one sentence is lost.
    salient = [bool(((target >= 0) & (target % 2 == 1)).any()) for target in targets]
    assert sum(salient) / len(salient) > 0.95


@pytest.mark.parametrize(
    ("split", "rows", "words"),
    [("train", 12544, 204_577), ("dev", 2001, 25_147), ("test", 2077, 25_094)],
)
def test_every_word_has_its_part_of_speech(split, rows, words):
    head = {"kind": "tokens", "text": "words", "target": "tags", "tags": "words"}
    found = load(f"pos/ud-en-ewt/{split}.tsv", WORDS, head)
    spans = [span for e in found for span in e.references["it"]]
    assert (len(found), len(spans)) == (rows, words)
    assert len({label for label, _, _ in spans}) in (17, 18)


@pytest.mark.parametrize(("split", "positive"), [("dev", 853), ("test", 894)])
def test_chinese_paraphrases_are_pairs(split, positive):
    head = {"kind": "classification", "text": ("sentence1", "sentence2"), "target": "label"}
    found = load(f"pair/pawsx-zh/{split}_2k.tsv", {}, head)
    assert len(found) == 2000
    assert all(isinstance(e.text, tuple) and e.twin is None for e in found)
    assert sum(e.references["it"] == "1" for e in found) == positive


def test_the_targets_of_real_answers_are_the_answers(wordpiece):
    found = load("qa/xquad/xquad.en.json", SQUAD, ANSWER)[:100]
    spec = HeadSpec(kind="answer.v1", output="x", input="pair", max_tokens=4096)
    head = NETWORKS["answer.v1"](spec, width=8, depth=1)
    for example, encoding in zip(found, wordpiece.encode([e.text for e in found]), strict=True):
        kinds = head.target(example.references["it"], encoding)
        (first,) = torch.nonzero((kinds > 0) & (kinds & 1 > 0)).flatten().tolist()
        (last,) = torch.nonzero((kinds > 0) & (kinds & 2 > 0)).flatten().tolist()
        start, end = encoding.offsets[first, 0], encoding.offsets[last, 1]
        assert example.references["it"].texts[0] in encoding.text[start:end]
