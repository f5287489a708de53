"""The guides to pairs and to heads that write: their snippets run."""

import re
import shutil
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[3] / "docs" / "guides"


@pytest.fixture
def printed_by(tmp_path, monkeypatch, capsys):
    """Number of a guide's snippets, and the lines that they print with a bundle."""
    monkeypatch.chdir(tmp_path)

    def run(page, bundle):
        shutil.copytree(bundle, tmp_path / "bundle")
        source = (GUIDES / page).read_text(encoding="utf-8")
        snippets = re.findall(r"^```python\n(.*?)^```$", source, flags=re.DOTALL | re.MULTILINE)
        names: dict[str, object] = {}
        for snippet in snippets:
            exec(compile(snippet, page, "exec"), names)
        return len(snippets), capsys.readouterr().out.splitlines()

    return run


def test_the_snippets_of_the_guide_to_pairs_run(many_heads, printed_by):
    snippets, printed = printed_by("pairs.md", many_heads)
    assert snippets == 3
    assert printed[-1] == "(4,)"


def test_the_snippets_of_the_guide_to_heads_that_write_run(writing, printed_by):
    snippets, printed = printed_by("generation.md", writing)
    assert snippets == 2
    assert printed[1] in ("billing", "delivery", "praise")
    assert len(printed) > 5
    assert printed[-1] in ("True", "False")
