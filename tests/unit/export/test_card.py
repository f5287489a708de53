"""The model card as a reader's browser shows it, whatever labels and heads are called."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from polyhead.bundle import read
from polyhead_export.card import card

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
    "ul",
    "li",
    "img",
}


class Page(HTMLParser):
    """The tags and the cells of a page."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags, self.cells, self.open = set(), [], False
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.open = tag in ("td", "th")
        self.cells += [""] * self.open

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.cells[-1] += data


@pytest.mark.parametrize("label", LABELS)
def test_names_are_shown_as_they_are(exported, label):
    manifest = read(exported("fp32")).manifest
    text = " ".join(label.split())
    page = Page(
        card(
            manifest.encoder,
            manifest.graphs,
            {label: replace(manifest.heads["topic"], labels=(label, "other"))},
            {label: manifest.quality["topic"]},
            manifest.gate,
            manifest.certificate,
            "quality.png",
            special_tokens="text",
            reliability={},
        )
    )
    assert page.tags <= EXPECTED
    assert page.cells[3:6] == [text, "classification.v1", f"{text}, other"]
    assert page.cells.count(text) >= 2
