"""The snippets of the reference of HTTP run with the clients that they name."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[5] / "docs" / "reference" / "http.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.S | re.M)


@pytest.mark.parametrize(
    ("snippet", "printed"),
    [*zip(SNIPPETS, [r"2 \d+\n", r"\['\w+', '\w+'\]\n"], strict=True)],
    ids=["openai", "triton"],
)
def test_a_snippet_prints(serve, demo, capsys, snippet, printed):
    with serve({"bundle": demo}) as address:
        names: dict[str, object] = {}
        source = snippet.replace("http://localhost:8000", address)
        source = source.replace("localhost:8000", address.removeprefix("http://"))
        exec(compile(source, PAGE.name, "exec"), names)
        names["client"].close()
    assert re.fullmatch(printed, capsys.readouterr().out)
