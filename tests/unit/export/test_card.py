"""The model card as a reader's browser shows it, whatever labels and heads are called."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from markdown_it import MarkdownIt

from polyhead import Classification, Entities, Prediction, Span
from polyhead.bundle import read
from polyhead_export.card import card
from polyhead_export.card_facts import CardFacts, today
from polyhead_models.config import CardConfig
from polyhead_models.evaluation import HeadFigures

LABELS = (
    *("yes|no", "a\\\\|b", "a\\\\", "`x`", "x`", "<b>x</b>", "<script>alert(1)</script>", "&lt;"),
    *(
        "*x*",
        "_x_",
        "__x__",
        "snake_case",
        "[x](http://a)",
        "![x](y)",
        "~~x~~",
        "$a$",
        "two\nlines",
    ),
    *("R&D", "a < b", "|", "||", "東京"),
)
EXPECTED = {
    "h1",
    "p",
    "code",
    "pre",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "h2",
    "strong",
    "ul",
    "li",
    "img",
}


class Page(HTMLParser):
    """The tags, the cells and the text of a page, whose first lines are YAML."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags, self.cells, self.text, self.open = set(), [], "", False
        _, head, markdown = markdown.split("---\n", 2)
        self.head = yaml.safe_load(head)
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.open = tag in ("td", "th")
        self.cells += [""] * self.open

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        self.text += data
        if self.open:
            self.cells[-1] += data


@pytest.fixture
def page(exported):
    """The card of one head, with other labels and facts."""
    manifest = read(exported("fp32")).manifest

    def make(name="topic", labels=("a", "b"), facts=None, encoder="org/encoder", **provenance):
        shown = replace(
            manifest,
            encoder=replace(manifest.encoder, name=encoder),
            graphs=tuple(replace(graph, heads=(name,)) for graph in manifest.graphs),
            heads={name: replace(manifest.heads["topic"], labels=labels)},
            quality={name: manifest.quality["topic"]},
            reliability={},
            provenance={**manifest.provenance, **provenance},
        )
        return Page(card(shown, facts or CardFacts()))

    return make


@pytest.mark.parametrize("label", LABELS)
def test_names_are_shown_as_they_are(page, label):
    text = " ".join(label.split())
    found = page(label, (label, "other"))
    assert found.tags <= EXPECTED
    assert found.cells[4:8] == [text, "classification.v1", "a single text", "2"]
    assert f"{text}: {text}, other" in found.text
    assert found.cells.count(text) >= 2
    assert found.head["model-index"][0]["name"] == label


def test_labels_are_a_paragraph_that_wraps(page):
    labels = tuple(f"label {n}" for n in range(150))
    found = page(labels=labels)
    assert ", ".join(labels) in found.text
    assert max(map(len, found.cells)) < 60


class TestHead:
    def test_it_has_what_a_hub_lists(self, page):
        facts = CardFacts(
            settings=CardConfig(license="apache-2.0", language=("en", "de")),
            sources={"topic": "mails"},
            test={
                "topic": HeadFigures(metric="accuracy", value=0.5, figures={}, texts=4, windowed=0)
            },
        )
        head = page(facts=facts).head
        assert head["library_name"] == "polyhead"
        assert (head["license"], head["language"]) == ("apache-2.0", ["en", "de"])
        assert head["base_model"] == "org/encoder"
        assert head["pipeline_tag"] == "text-classification"
        assert {"polyhead", "onnx", "fp32", "text-classification"} <= {*head["tags"]}
        [result] = head["model-index"][0]["results"]
        assert result["dataset"] == {"name": "mails", "type": "mails", "split": "test"}
        assert result["metrics"] == [{"name": "topic: accuracy", "type": "accuracy", "value": 0.5}]

    def test_what_nobody_said_is_left_out(self, page):
        head = page(encoder="folder").head
        assert not {"license", "language", "base_model"} & {*head}

    def test_without_a_test_split_it_has_the_validation_figures(self, page, exported):
        quality = read(exported("fp32")).manifest.quality["topic"]
        [result] = page().head["model-index"][0]["results"]
        assert result["dataset"]["split"] == "validation"
        assert result["metrics"][0]["value"] == round(quality.exported, 4)


def test_examples_are_shown_as_they_are(page):
    text = "# no <b>title</b>\n- no list"
    results = {
        "topic": Classification("a|b", 0.9, {}),
        "entities": Entities((Span("X", "<b>", 5, 8, 0.9),)),
    }
    facts = CardFacts(examples=[Prediction(text, results, tokens=9)])
    found = page(facts=facts)
    assert "“# no <b>title</b> - no list”" in found.text
    assert "topic: a|b 0.90" in found.text
    assert "entities: X='<b>'" in found.text
    assert found.tags - EXPECTED == {"blockquote"}


def test_data_and_date_are_told(page, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    figures = {"accuracy": 0.75, "macro_f1": 0.5}
    facts = CardFacts(
        texts={"mails": (2400, 400)},
        test={
            "topic": HeadFigures(
                metric="accuracy", value=0.75, figures=figures, texts=40, windowed=0
            )
        },
    )
    found = page(facts=facts)
    assert today() == "1970-01-01"
    assert "Exported on 1970-01-01." in found.text
    for row in (["mails", "2400", "400"], ["topic", "40", "macro_f1", "0.5000"]):
        assert " ".join(row) in " ".join(found.cells)


def test_a_student_says_what_it_was_shrunk_from(page):
    shape = {"layers": 6, "ffn": 1536, "attention_heads": 12}
    drop = {"value": 0.004, "low": 0.0, "high": 0.01}
    verdict = {"metric": "accuracy", "teacher": 0.93, "student": 0.926, "drop": drop}
    shrunk = {
        "teacher": {"checkpoint": "checkpoint", "shape": shape},
        "student": {"shape": {**shape, "layers": 3}},
        "heads": {"a|b": {**verdict, "passed": True}, "lost": {**verdict, "passed": False}},
    }
    found = page(shrunk=shrunk)
    assert "6 layers of 1536 neurons and 12 attention heads became 3 layers" in found.text
    assert found.tags <= EXPECTED
    start = found.cells.index("points lost") + 1
    assert found.cells[start : start + 5] == ["a|b", "accuracy", "0.9300", "0.9260", "0.4"]
    assert "lost" not in found.cells
    assert "Shrunk" not in page().text
