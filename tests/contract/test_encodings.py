"""No file and no process is read or written in whatever encoding the locale names."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("runtime/src", "models/src", "export/src", "benchmarks/src", "examples", "docs")

OTHERS = ("os", "session", "multi_threaded")
"""What has an `open` that opens no text."""


def constant(node):
    return node.value if isinstance(node, ast.Constant) else None


def in_the_locales_encoding(call):
    """Whether a call is one for text, of the standard library, that names no encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    owner = ast.unparse(call.func).rpartition(".")[0]
    words = {word.arg: constant(word.value) for word in call.keywords}
    values = [constant(argument) for argument in call.args]
    if "encoding" in words or owner == "atomic":  # that writes UTF-8
        return False
    if name in ("read_text", "write_text"):
        return len(values) < 1 + (name == "write_text")
    if (name == "open" and owner.rpartition(".")[2] not in OTHERS) or name == "fdopen":
        of_a_path = owner not in ("", "os")
        mode = words.get("mode") or next(iter(values if of_a_path else values[1:]), None)
        return "b" not in (mode or "r")
    return words.get("text") is True or words.get("universal_newlines") is True


def found(source):
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if in_the_locales_encoding(call)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_text_has_a_named_encoding(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert {str(f): lines for f in files if (lines := found(f.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    [
        *("path.read_text()", "path.write_text(page)", "path.open()", 'path.open("w")'),
        *("open(name)", 'open(name, "w")', 'os.fdopen(1, "w")', "run(words, text=True)"),
    ],
)
def test_what_this_check_would_find(source):
    assert found(source) == [1]


@pytest.mark.parametrize(
    "source",
    [
        *('path.read_text("utf-8")', 'path.write_text(page, "utf-8")', 'path.open("rb")'),
        *('open(name, mode="xb")', "run(words)", 'run(words, text=True, encoding="utf-8")'),
    ],
)
def test_what_it_passes_over(source):
    assert found(source) == []
