"""The guide to pairs: its snippets run with heads of every kind."""

import re
import shutil
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "pairs.md"


def test_the_snippets_of_the_guide_to_pairs_run(many_heads, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(many_heads, tmp_path / "bundle")
    source = PAGE.read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```$", source, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, PAGE.name, "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert len(snippets) == 3
    assert printed[-1] == "(4,)"
