"""The README's snippets run, its configuration is one, and its commands exist."""

import argparse
import asyncio
import re
import shlex
import shutil
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import polyhead
from polyhead import errors
from polyhead.system.schema import parse
from polyhead_models import config
from polyhead_models.data.formats import FORMATS
from polyhead_models.errors import ConfigError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.startswith("polyhead ")
]
ROWS = re.findall(r"^\| `polyhead (\w+)", README, flags=re.MULTILINE)


def blocks(language):
    return [block for name, block in BLOCKS if name == language]


def test_the_python_snippet_prints_what_the_readme_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "tests" / "data" / "bundle", tmp_path / "build" / "demo" / "bundle")
    (snippet,) = blocks("python")
    exec(compile(snippet, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    shown = blocks("text")[1].splitlines()
    # Another model answers here, so values differ; every line has the form that is shown.
    assert len(printed[0].split()) == len(shown[0].split()) == 2
    for line in [*printed[1:-1], *shown[1:-1]]:
        assert re.fullmatch(r"[A-Z_]+ \d+ \d+ \S.*", line)
    assert all(re.fullmatch(r"\(\d+,\)", lines[-1]) for lines in (printed, shown))


def test_the_shown_offsets_are_those_of_the_snippets_text():
    (snippet,) = blocks("python")
    (text,) = re.findall(r'engine\("(.*)"\)', snippet)
    for line in blocks("text")[1].splitlines()[1:-1]:
        _, start, end, shown = line.split(" ", 3)
        assert text[int(start) : int(end)] == shown


def test_the_configuration_is_valid(tmp_path):
    toml, _, _ = blocks("toml")
    (tmp_path / "tickets.toml").write_text(toml, encoding="utf-8")
    heads = config.load(tmp_path / "tickets.toml").heads
    assert list(heads) == ["queue", "tags", "hours", "slots", "search"]


def test_the_heads_of_two_texts_are_valid():
    _, _, toml = blocks("toml")
    for name, head in tomllib.loads(toml)["heads"].items():
        parse(config.HeadConfig, head, where=name, error=ConfigError)


def test_the_keys_of_a_source_are_valid():
    _, toml, _ = blocks("toml")
    keys = tomllib.loads(toml)
    parse(config.DataConfig, {"train": "x.csv", **keys}, where="README.md", error=ConfigError)


def test_the_table_lists_every_format():
    (table,) = re.findall(r"^\| format \|.*?\n\n", README, flags=re.MULTILINE | re.DOTALL)
    first = [line.split("|")[1] for line in table.splitlines()[2:] if line]
    assert re.findall(r"`(\w+)`", " ".join(first)) == list(FORMATS)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_shown_command_is_accepted(line):
    _, name, *words = shlex.split(line)
    (point,) = entry_points(group="polyhead.commands", name=name)
    parser = argparse.ArgumentParser()
    import_module(point.value).configure(parser)
    parser.parse_args(words)


def test_the_table_lists_every_command():
    installed = {point.name for point in entry_points(group="polyhead.commands")}
    assert set(ROWS) == installed


def test_every_shown_make_target_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make ([\w-]+)$", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_the_entry_points_of_a_head_are_those_of_the_whole_example():
    form = r'^    (\[project\.entry-points.*?\]|"ordinal\.v1" = ".*")'
    shown = re.findall(form, README, flags=re.MULTILINE)
    source = (ROOT / "tests" / "data" / "polyhead-ordinal" / "pyproject.toml").read_text()
    declared = tomllib.loads(source)["project"]["entry-points"]
    assert tomllib.loads("\n".join(shown))["project"]["entry-points"] == declared


def test_the_snippet_of_a_service_runs():
    (snippet,) = [block for block in blocks("py") if "Batcher" in block]
    lines = "".join(f"    {line}\n" for line in snippet.splitlines())
    source = f"async def main(engine):\n{lines}    return prediction\n"
    names = {"polyhead": polyhead}
    exec(compile(source, "README.md", "exec"), names)
    with polyhead.load(ROOT / "tests" / "data" / "bundle", threads=1) as engine:
        assert list(asyncio.run(names["main"](engine))) == ["topic"]


def test_the_table_of_errors_has_every_error_once():
    (table,) = re.findall(r"^\| error \|.*?\n\n", README, flags=re.MULTILINE | re.DOTALL)
    first = " ".join(line.split("|")[1] for line in table.splitlines()[2:] if line)
    tree = [
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, polyhead.PolyheadError)
    ]
    assert sorted(re.findall(r"`(\w+)`", first)) == sorted(tree)
