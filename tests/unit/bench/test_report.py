"""The report of a real run: parsed, complete, and in need of nothing else."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from polyhead_bench.report.plots import pictures
from polyhead_bench.tables import as_markdown, tables

NAMES = ("latency", "distribution", "load", "throughput", "pareto", "heads", "split")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LOOK = """<pre id="sizes"></pre><script>
document.getElementById("sizes").textContent = "sizes " +
  [...document.querySelectorAll("figure > svg")].map(svg => {
    const box = svg.getBoundingClientRect();
    return svg.parentNode.id + ":" + Math.round(box.width) + "x" + Math.round(box.height);
  }).join(" ") + " end";
</script></body>"""


class Page(HTMLParser):
    """Figures with their pictures, and whatever would be loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.figures, self.svgs, self.outside, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.figures += [found["id"]] if tag == "figure" else []
        self.svgs += [self.figures[-1]] if tag == "svg" else []
        links = (found.get(key) for key in ("src", "href", "xlink:href", "data"))
        self.outside += [link for link in links if link and not link.startswith("#")]
        self.outside += [tag] if tag in {"script", "link", "iframe", "object"} else []


@pytest.fixture
def html(finished):
    return (finished.folder / "report.html").read_text(encoding="utf-8")


def test_every_picture_is_in_the_page_and_nothing_is_loaded(html):
    page = Page(html)
    assert page.figures == page.svgs == list(NAMES)
    assert page.outside == []
    assert "@import" not in html
    assert "url(http" not in html


def test_the_page_has_every_table(html, finished):
    shown = tables(finished.results)
    assert html.count("<table>") == len(shown) == 7
    markdown = (finished.folder / "report.md").read_text(encoding="utf-8")
    for table in shown:
        assert as_markdown(table) in markdown


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_svg_with_labelled_axes_and_a_caption(finished, name):
    (picture,) = [one for one in pictures(finished.results) if one.name == name]
    file = finished.folder / f"{name}.svg"
    assert ElementTree.fromstring(file.read_text(encoding="utf-8")).tag.endswith("svg")
    for fact in (finished.results.machine["cpu"]["model"], "1 thread", "topic"):
        assert fact in picture.caption
    comments = picture.svg  # matplotlib writes each text as a comment beside its outlines
    assert 'id="matplotlib.axis_1"' in comments
    assert comments.count("<!--") > 4


def test_a_name_with_markup_is_text(finished):
    from dataclasses import replace

    from polyhead_bench.report import write

    odd = replace(finished.results, command="<script>alert(1)</script>")
    folder = finished.folder.parent / "odd"
    write(folder, odd)
    assert "<script>" not in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_every_picture(html, tmp_path):
    page = tmp_path / "look.html"
    page.write_text(html.replace("</body>", LOOK), encoding="utf-8")
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    done = subprocess.run(
        [CHROMIUM, *words, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    sizes = re.findall(r">sizes (.*) end</pre>", done.stdout)[0].split()
    assert [one.partition(":")[0] for one in sizes] == list(NAMES)
    for one in sizes:
        width, height = map(int, one.partition(":")[2].split("x"))
        assert width > 300, one
        assert height > 150, one
