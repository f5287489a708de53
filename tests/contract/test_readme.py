"""The README's snippet runs as it shows, and both languages say the same."""

import re
import shutil

import pytest
from pages import ROOT, blocks, table, text

READMES = ["README.md", "README.zh-CN.md"]
REPORT = "benchmarks/results/2026-11-29-amd-epyc/demo/report.md"


@pytest.mark.parametrize("page", READMES)
def test_the_snippet_prints_what_the_readme_shows(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "tests" / "data" / "bundle", tmp_path / "build" / "demo" / "bundle")
    (snippet,) = blocks(page, "python")
    exec(compile(snippet.code, page, "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    shown = blocks(page, "text")[1].code.splitlines()
    # Another model answers here, so values differ; every line has the form that is shown.
    assert len(printed[0].split()) == len(shown[0].split()) == 2
    for line in [*printed[1:-1], *shown[1:-1]]:
        assert re.fullmatch(r"[A-Z_]+ \d+ \d+ \S.*", line)
    assert all(re.fullmatch(r"\(\d+,\)", lines[-1]) for lines in (printed, shown))


def test_the_shown_offsets_are_those_of_the_snippets_text():
    (snippet,) = blocks("README.md", "python")
    (asked,) = re.findall(r'engine\("(.*)"\)', snippet.code)
    for line in blocks("README.md", "text")[1].code.splitlines()[1:-1]:
        _, start, end, shown = line.split(" ", 3)
        assert asked[int(start) : int(end)] == shown


def test_the_times_of_the_text_are_those_of_the_published_report():
    source = text("README.md")
    (joint, separate, place) = re.search(
        r"answer a text in ([\d.]+) ms,[^(]* in\s+([\d.]+) ms\s+\(\[report\]\(([^)]+)\)", source
    ).groups()
    report = text(place)
    assert f"| polyhead-int8 | 4 | {joint} |" in report
    assert f"| separate-int8 | 4 | {separate} |" in report
    (faster,) = re.findall(r"PyTorch took ([\d.]+) times as long", source)
    assert re.search(rf"^\| torch \|.*\| {faster} \(", report, flags=re.MULTILINE)


def test_the_table_of_peers_is_that_of_the_published_report():
    """Every peer that was asked has a row, and each number is one of the report's."""
    peers = [row[0] for row in table(REPORT, _title("Peers"))]
    shown = table("README.md", "### demo")
    assert [row[0] for row in shown] == peers
    assert shown == table(REPORT, _title("One text at a time, ms"))


def _title(start):
    (title,) = re.findall(rf"^## {start}.*$", text(REPORT), flags=re.MULTILINE)
    return title


def _without_code(page):
    return re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"```.*?```", id="blocks"),
        pytest.param(r"^    \S.*$", id="indented commands"),
        pytest.param(r"`[^`\n]+`", id="code in the text"),
        pytest.param(r"\]\((?!README)[^)]+\)", id="links"),
        pytest.param(r"^(?:##? |- |\|)", id="headings, points and rows"),
        pytest.param(r"<!-- benchmark.*?end of benchmark -->", id="measured"),
    ],
)
def test_both_languages_have_the_same(pattern):
    flags = re.DOTALL | re.MULTILINE if "```" in pattern or "<!--" in pattern else re.MULTILINE
    found = [
        sorted(re.findall(pattern, text(page) if "```" in pattern else _without_code(page), flags))
        for page in READMES
    ]
    assert found[0] == found[1]
    assert found[0]


def test_both_languages_have_the_same_numbers():
    found = [sorted(re.findall(r"\d+(?:[.,]\d+)*", _without_code(page))) for page in READMES]
    assert found[0] == found[1]


@pytest.mark.parametrize("page", READMES)
def test_a_readme_is_short(page):
    assert 100 < len(text(page).splitlines()) <= 200


def test_the_chinese_readme_is_in_chinese():
    characters = re.findall(r"[\u4e00-\u9fff]", text("README.zh-CN.md"))
    assert len(characters) > 500
    assert not re.findall(r"[\u4e00-\u9fff]", text("README.md").replace("[中文]", ""))
