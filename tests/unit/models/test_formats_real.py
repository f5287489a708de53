"""Real corpora, where the environment variable POLYHEAD_DATA names a folder that has them.

The row counts are those of the corpora's own descriptions.
"""

import os
from pathlib import Path

import pytest

from polyhead_models import config
from polyhead_models.config import DataConfig
from polyhead_models.data import examples, sources, statistics
from polyhead_models.data.statistics import report

DATA = Path(os.environ.get("POLYHEAD_DATA", "."))
pytestmark = pytest.mark.skipif("POLYHEAD_DATA" not in os.environ, reason="no POLYHEAD_DATA")

SST2 = {"columns": ("text", "label")}
SNIPS = {
    "format": "parallel",
    "columns": ("seq.in", "seq.out", "label"),
    "lists": {"seq.in": " ", "seq.out": " "},
}
CLINC = {"columns": ("text", "intent")}
CONLL = {"format": "conll", "columns": ("words", "tags")}
XSID = {"columns": ("id", "words", "_", "slots")}
EMOTIONS = {
    "columns": ("text", "emotions", "_"),
    "lists": {"emotions": ","},
    "names": {"emotions": str(DATA / "multilabel/goemotions/labels.txt")},
}
VADER = {"format": "tsv", "columns": ("_", "score", "text")}
DBPEDIA = {"columns": ("class", "text")}


@pytest.mark.parametrize(
    ("place", "settings", "count"),
    [
        ("sentiment/sst2-sentences/train.tsv", SST2, 6920),
        ("sentiment/sst2-sentences/dev.tsv", SST2, 872),
        ("sentiment/sst2-sentences/test.tsv", SST2, 1821),
        ("intent_slots/snips/train", SNIPS, 13084),
        ("intent_slots/snips/dev", SNIPS, 700),
        ("intent_slots/snips/test", SNIPS, 700),
        ("intent_slots/clinc150/data_full.json#train", CLINC, 15000),
        ("intent_slots/clinc150/data_full.json#val", CLINC, 3000),
        ("intent_slots/clinc150/data_full.json#test", CLINC, 4500),
        ("intent_slots/clinc150/data_full.json#oos_train", CLINC, 100),
        ("intent_slots/clinc150/data_full.json#oos_test", CLINC, 1000),
        ("ner/wnut17/wnut17train.conll", CONLL, 3394),
        ("ner/wnut17/emerging.dev.conll", CONLL, 1009),
        ("ner/wnut17/emerging.test.annotated", CONLL, 1287),
        ("pos/ud-en-ewt/train.tsv", CONLL, 12544),
        ("pos/ud-en-ewt/dev.tsv", CONLL, 2001),
        ("pos/ud-en-ewt/test.tsv", CONLL, 2077),
        ("intent_slots/xsid-zh/en.valid.conll", XSID, 300),
        ("intent_slots/xsid-zh/en.test.conll", XSID, 500),
        ("intent_slots/xsid-zh/zh.valid.conll", XSID, 300),
        ("intent_slots/xsid-zh/zh.test.conll", XSID, 500),
        ("multilabel/goemotions/train.tsv", EMOTIONS, 43410),
        ("multilabel/goemotions/dev.tsv", EMOTIONS, 5426),
        ("multilabel/goemotions/test.tsv", EMOTIONS, 5427),
        ("regression/vader-ratings/tweets_GroundTruth.txt", VADER, 4200),
        ("regression/vader-ratings/amazonReviewSnippets_GroundTruth.txt", VADER, 3708),
        ("regression/vader-ratings/movieReviewSnippets_GroundTruth.txt", VADER, 10605),
        ("regression/vader-ratings/nytEditorialSnippets_GroundTruth.txt", VADER, 5190),
        ("topic/dbpedia-sample/train.csv", DBPEDIA, 14000),
        ("qa/squadshifts-en/new_wiki_v1.0.json", {"format": "squad"}, 7938),
        ("qa/squadshifts-en/reddit_v1.0.json", {"format": "squad"}, 9803),
        ("qa/squadshifts-en/amazon_reviews_v1.0.json", {"format": "squad"}, 9885),
        ("summarization/scitldr/train.jsonl", {}, 1992),
        ("summarization/scitldr/dev.jsonl", {}, 619),
        ("summarization/scitldr/test.jsonl", {}, 618),
    ],
)
def test_a_corpus_has_the_rows_that_its_description_says(place, settings, count):
    rows = sources.load(DataConfig(train=str(DATA / place), **settings), "train")
    assert len(rows) == count


def test_the_shares_of_vader_are_all_of_it():
    data = DataConfig(
        train=str(DATA / "regression/vader-ratings/tweets_GroundTruth.txt"),
        validation_share=0.1,
        test_share=0.1,
        **VADER,
    )
    splits = [{r.where for r in sources.load(data, s)} for s in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [3360, 420, 420]
    assert len(set.union(*splits)) == 4200


def test_every_answer_of_squadshifts_stands_in_its_context():
    place = str(DATA / "qa/squadshifts-en/new_wiki_v1.0.json")
    for row in sources.load(DataConfig(train=place, format="squad"), "train"):
        for answer in row.fields["answers"]:
            start = answer["start"]
            assert row.fields["context"][start:].startswith(answer["text"]), row.where


def test_the_words_of_ud_english_are_all_there():
    place = str(DATA / "pos/ud-en-ewt/train.tsv")
    rows = sources.load(DataConfig(train=place, **CONLL), "train")
    assert sum(len(row.fields["words"]) for row in rows) == 204_577


@pytest.mark.parametrize(
    ("place", "settings", "words", "tags"),
    [
        ("ner/wnut17/wnut17train.conll", CONLL, "words", "tags"),
        ("intent_slots/xsid-zh/zh.test.conll", XSID, "words", "slots"),
        ("intent_slots/snips/train", SNIPS, "seq.in", "seq.out"),
    ],
    ids=["wnut17", "xsid", "snips"],
)
def test_the_tags_of_a_corpus_are_spans(place, settings, words, tags):
    data = DataConfig(train=str(DATA / place), **settings)
    head = config.HeadConfig(kind="tokens", data="it", text=words, target=tags)
    made = config.Config(
        encoder=config.EncoderConfig(name="none"), data={"it": data}, heads={"spans": head}
    )
    found = examples.load(made, "train")
    spans = sum(len(e.references["spans"]) for e in found)
    rows = sources.load(data, "train")
    assert spans == sum(tag.startswith("B-") for row in rows for tag in row.fields[tags])


@pytest.fixture(scope="module")
def snips(encoder_folder, tmp_path_factory):
    """A configuration over SNIPS: intents and slots."""
    path = tmp_path_factory.mktemp("snips") / "snips.toml"
    path.write_text(f"""
        encoder = {{ name = "{encoder_folder}" }}
        [data.snips]
        format = "parallel"
        train = "${{POLYHEAD_DATA}}/intent_slots/snips/train"
        validation = "${{POLYHEAD_DATA}}/intent_slots/snips/dev"
        test = "${{POLYHEAD_DATA}}/intent_slots/snips/test"
        columns = ["seq.in", "seq.out", "label"]
        lists = {{ "seq.in" = " ", "seq.out" = " " }}
        [heads.intent]
        kind = "classification"
        data = "snips"
        text = "seq.in"
        target = "label"
        [heads.slots]
        kind = "tokens"
        data = "snips"
        text = "seq.in"
        target = "seq.out"
    """)
    return config.load(path)


def test_the_texts_that_snips_has_in_two_splits_are_found(snips):
    # Its description tells of 9 and 23 lines; six and three more differ in blanks alone, which no
    # encoder sees.
    found = report(snips).heads["intent"]
    counts = {(leak.split, leak.also_in): leak.repeated.rows for leak in found.leaks}
    assert counts == {
        ("validation", "train"): 15,
        ("test", "train"): 26,
        ("test", "validation"): 1,
    }
    assert found.splits["train"].target.distinct == 7


@pytest.mark.parametrize(("split", "count"), [("dev", 9), ("test", 23)])
def test_the_lines_that_snips_has_in_two_splits_are_those_of_its_description(split, count):
    places = [DATA / f"intent_slots/snips/{name}/seq.in" for name in (split, "train")]
    texts = [place.read_text(encoding="utf-8").splitlines(keepends=True) for place in places]
    lines = [[(line, "") for line in lines] for lines in texts]
    assert statistics.repeated(*lines).rows == count
