"""The pages in a real browser: what is typed, and what is then read."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import polyhead
from polyhead.serving.http import pages

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if CHROMIUM is None:
    pytest.skip("no Chromium is installed here", allow_module_level=True)

expect = playwright.expect
TEXT = "👍 Anna lives in Oslo. The parcel was late. né à 東京, thanks!"
MARKUP = "<img src=x onerror=alert(1)> <script>alert(2)</script> Anna & <b>Bo</b>"


@pytest.fixture(scope="module")
def browser():
    # Chromium's own sandbox needs rights that root in a container does not have.
    unboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=unboxed)
        yield found
        found.close()


@pytest.fixture
def visit(browser):
    """Opens a page of a server; at the end nothing was refused, and no other host was asked."""
    contexts, told, asked = [], [], defaultdict(set)

    def open_page(address, path="/", **settings):
        context = browser.new_context(**{"locale": "en-US", **settings})
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda problem: told.append(str(problem)))
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked[address].add(request.url))
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # The browser's own about an answer of another status, which the page shows.
    assert not [line for line in told if not line.startswith("Failed to load resource")]
    for address, urls in asked.items():
        assert all(url.startswith((address, "data:")) for url in urls), urls


@pytest.fixture(scope="module")
def engine(many_heads):
    with polyhead.load(many_heads, threads=1) as found:
        yield found


def ask(page, text, question=None):
    """Type, and answer by the keyboard alone."""
    page.get_by_label("Answer as I type").uncheck()
    if question is not None:
        page.get_by_label("Question").fill(question)
    page.get_by_label("Text", exact=True).fill(text)
    with page.expect_response("**/v1/predict"):
        page.get_by_label("Text", exact=True).press("Control+Enter")


def marked(page, kind):
    """The marked parts of the text, without the labels behind them."""
    return page.locator(f"#read .{kind}").evaluate_all(
        "pieces => pieces.map(piece => piece.firstChild.textContent)"
    )


def read(page):
    """The text that is shown, without the labels behind its marked parts."""
    return page.locator("#read").evaluate(
        """box => {
            const copy = box.cloneNode(true);
            copy.querySelectorAll(".tag").forEach(tag => tag.remove());
            return copy.textContent;
        }"""
    )


def test_labels_numbers_and_spans_are_those_of_the_engine(visit, many, engine):
    page = visit(many)
    ask(page, TEXT)
    answer = engine(TEXT)
    topic = page.get_by_role("region", name="topic")
    expect(topic.locator(".best strong")).to_have_text(answer["topic"].label)
    for label, score in answer["topic"].scores.items():
        bar = topic.get_by_role("meter", name=label)
        assert float(bar.get_attribute("aria-valuenow")) == pytest.approx(score, abs=1e-4)
    urgency = page.get_by_role("region", name="urgency")
    expect(urgency.locator(".number")).to_have_text(f"{answer['urgency'].value:.6g}")
    expect(page.locator("#tiles")).to_contain_text(f"{answer.tokens} tokens")
    expect(page.locator("#tiles")).to_contain_text("ms round trip")
    expect(page.get_by_role("status")).to_have_text("7 heads have answered.")
    for name in ("summary", "short"):
        page.get_by_role("checkbox", name=name).last.uncheck()
    assert marked(page, "label") == [span.text for span in answer["entities"].spans]
    assert read(page) == TEXT


def test_an_answer_is_marked_in_its_context(visit, many, engine):
    page = visit(many)
    ask(page, TEXT, "who lives in Oslo?")
    found = engine(("who lives in Oslo?", TEXT))["answer"]
    card = page.get_by_role("region", name="answer", exact=True)
    expect(card.locator(".best strong")).to_have_text(found.text)
    assert "".join(marked(page, "answer")) == found.text
    expect(page.locator("#read .question")).to_have_text("who lives in Oslo?")


def test_what_is_kept_is_marked(visit, many, engine):
    page = visit(many)
    ask(page, TEXT)
    short = engine(TEXT)["short"]
    assert "".join(marked(page, "kept")) == "".join(span.text for span in short.spans) != ""
    expect(page.get_by_role("region", name="short").locator("p")).to_have_text(short.text)


def test_sentences_of_the_summary_are_marked(visit, many, engine):
    page = visit(many)
    ask(page, TEXT)
    (sentence,) = engine(TEXT)["summary"].sentences
    assert "".join(marked(page, "sentence")) == sentence.text
    expect(page.get_by_role("region", name="summary").locator("li .what")).to_have_text(
        sentence.text
    )


def test_the_other_heads_answer_where_a_question_is_too_long(visit, many):
    page = visit(many)
    ask(page, TEXT, "who lives in oslo " * 9)
    expect(page.get_by_role("alert")).to_contain_text("TextTooLong")
    expect(page.get_by_role("region", name="topic").locator(".best")).to_be_visible()


def test_long_texts_say_how_many_windows(visit, many, engine):
    page = visit(many)
    text = "the parcel was late . " * 9
    ask(page, text)
    expect(page.locator("#tiles")).to_contain_text(f"{engine(text).windows} windows")


def test_a_text_never_becomes_a_part_of_the_page(visit, many):
    page = visit(many)
    ask(page, MARKUP, "<b>?</b>")
    expect(page.locator("#read")).to_contain_text("<b>?</b>")
    assert read(page) == "<b>?</b>" + MARKUP
    assert page.locator("main img, main script, main b:not(#tiles b)").count() == 0


def test_it_answers_while_one_types(visit, many):
    page = visit(many)
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    page.keyboard.type("Anna lives in Oslo")
    expect(page.get_by_role("region", name="topic").locator(".best")).to_be_visible()


def test_nothing_is_said_of_an_empty_text(visit, many):
    page = visit(many)
    ask(page, TEXT)
    expect(page.locator("#tiles")).to_be_visible()
    page.get_by_label("Text", exact=True).fill("")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#tiles")).to_be_hidden()
    expect(page.locator("#answers")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("region", name="topic")).to_contain_text("billing")


def test_a_model_of_many_labels_shows_the_most_probable(visit, many):
    labels = [f"label {number}" for number in range(700)]

    def more_labels(route):
        answer = route.fetch()
        told = answer.json()
        told["x-polyhead-models"][0]["heads"]["topic"]["labels"] = labels
        route.fulfill(response=answer, json=told)

    def scored(route):
        answer = route.fetch()
        told = answer.json()
        scores = dict.fromkeys(labels, 0.0005) | {"label 600": 0.65}
        told["heads"]["topic"] = {"label": "label 600", "score": 0.65, "scores": scores}
        route.fulfill(response=answer, json=told)

    page = visit(many, "/docs")
    page.route("**/openapi.json", more_labels)
    page.route("**/v1/predict", scored)
    page.goto(many)
    topic = page.get_by_role("region", name="topic")
    expect(topic).to_contain_text("… (700)")
    ask(page, TEXT)
    expect(topic.get_by_role("meter")).to_have_count(8)
    assert topic.get_by_role("meter").first.get_attribute("aria-label") == "label 600"
    topic.get_by_text("all 700 labels").click()
    expect(topic.get_by_role("meter")).to_have_count(500)


def test_heads_and_options_are_part_of_the_request(visit, many):
    page = visit(many)
    for name in ("flags", "urgency", "entities", "embedding"):
        page.get_by_role("group", name="Heads").get_by_label(name).uncheck()
    page.get_by_text("Options").click()
    page.get_by_label("summary: k").fill("2")
    ask(page, TEXT)
    expect(page.get_by_role("region", name="summary").locator("li")).to_have_count(2)
    assert page.get_by_role("region", name="urgency").count() == 0
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_label("summary: k").fill("0")
    with page.expect_response("**/v1/predict"):
        page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("InvalidSetting")


@pytest.mark.parametrize("tab", ["curl", "Python"])
def test_what_is_copied_runs(visit, many, engine, tab):
    if tab == "curl" and shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    page = visit(many)
    text = 'It\'s "Anna" \\ $HOME `x` 👍\n' + MARKUP
    ask(page, text)
    page.get_by_role("tab", name="curl").focus()
    if tab == "Python":
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name="Python")).to_be_focused()
    snippet = page.get_by_role("tabpanel").text_content()
    command = ["bash", "-c", snippet] if tab == "curl" else [sys.executable, "-c", snippet]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert engine(text)["topic"].label in done.stdout


def test_chinese(visit, many):
    page = visit(many, locale="zh-CN")
    expect(page.get_by_role("button", name="分析")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("button", name="Answer", exact=False).first).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_label("文本", exact=True)).to_be_visible()


def test_a_phone_shows_all_of_it(visit, many):
    page = visit(many, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    ask(page, TEXT + " " + "x" * 300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_an_api_key_is_asked_for(visit, serve, demo):
    with serve({"demo": demo}, api_keys=("secret",)) as address:
        page = visit(address)
        expect(page.get_by_role("alert")).to_contain_text("NotAuthorized")
        page.get_by_label("API key").fill("secret")
        page.get_by_label("API key").press("Tab")
        expect(page.get_by_role("region", name="topic")).to_be_visible()
        ask(page, "the new radio leaks")
        expect(page.get_by_role("region", name="topic").locator(".best")).to_be_visible()
        assert "secret" not in page.get_by_role("tabpanel").text_content()


def test_one_of_several_models_is_chosen(visit, serve, demo, many_heads):
    with serve({"demo": demo, "many": many_heads}) as address:
        page = visit(address)
        page.get_by_label("model").select_option("many")
        ask(page, TEXT)
        expect(page.get_by_role("region", name="urgency").locator(".number")).to_be_visible()


def test_a_server_that_went_away_is_told(visit, serve, demo):
    with serve({"demo": demo}) as address:
        page = visit(address)
        expect(page.get_by_role("region", name="topic")).to_be_visible()
        page.route(
            "**/v1/predict",
            lambda route: route.fulfill(
                status=429,
                json={"title": "QueueFull", "detail": "Too much."},
                headers={"Retry-After": "3"},
            ),
        )
        page.get_by_label("Text", exact=True).fill("a")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("alert")).to_contain_text("Try again in 3 s.")


def test_the_routes_can_be_read_with_a_key(visit, serve, demo):
    with serve({"demo": demo}, api_keys=("secret",)) as address:
        page = visit(address, "/docs")
        page.get_by_label("API key").fill("secret")
        page.keyboard.press("Enter")
        expect(page.get_by_text("/admin/reload")).to_be_visible()


def test_the_routes_can_be_read_without_a_network(visit, many):
    page = visit(many, "/docs")
    name = page.locator("summary", has_text="Answer a text, a pair, or many of them")
    name.press("Enter")
    route = page.locator("details", has=page.get_by_text("Answer a text, a pair, or many of them"))
    expect(route.get_by_text('"billing" | "delivery" | "praise"').first).to_be_visible()
    expect(route.get_by_text("deadline_ms")).to_be_visible()  # what it takes, too


@pytest.mark.parametrize("name", ["playground.html", "docs.html"])
def test_a_page_is_one_file(name):
    html, policy = pages.page(name)
    assert not re.search(r'<link rel="stylesheet"|<script src|https?://(?!www\.w3\.org)', html)
    assert len(re.findall("<style>|<script>", html)) == policy.count("sha256-")
    assert "unsafe" not in policy


def test_the_page_of_the_example_shows_what_one_call_gives(visit, serve_app, writing, monkeypatch):
    monkeypatch.setenv("BUNDLE", str(writing))
    example = Path(__file__).parents[5] / "examples" / "inbox" / "page.py"
    with serve_app(runpy.run_path(str(example))["app"]) as address:
        page = visit(address)
        page.get_by_label("A message").fill(f"{TEXT} {MARKUP}")
        with page.expect_response("**/v1/predict"):
            page.get_by_role("button", name="Read it").click()
        with polyhead.load(writing, threads=1) as engine:
            answer = engine(f"{TEXT} {MARKUP}")
        shown = page.locator("#answers dd").all_inner_texts()
    told = dict(zip(answer, shown, strict=True))
    assert told["topic"].startswith(answer["topic"].label)
    assert told["short"].removesuffix(" …") == answer["short"].text
    for span in answer["entities"].spans:
        assert f"{span.text} {span.label}" in told["entities"]
    for piece in answer["copy"].copied:
        assert piece.text in told["copy"]
