"""What the pages show is so: snippets run, commands exist, tables are those of the code."""

import argparse
import ast
import asyncio
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from importlib import util
from pkgutil import resolve_name

import pytest
from pages import ROOT, blocks, commands, table, text

import polyhead
from polyhead import errors
from polyhead.bundle import generation, golden, limits, manifest, measured
from polyhead.cli.main import command, names
from polyhead.heads import HeadSpec
from polyhead.system.schema import parse
from polyhead_bench.peers import PEERS
from polyhead_bench.report import publish
from polyhead_models import config
from polyhead_models.data.rows import FORMATS
from polyhead_models.errors import ConfigError
from polyhead_models.heads.layers import Dense

READMES = ["README.md", "README.zh-CN.md"]
GUIDES = sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md"))
MEMBERS = ["benchmarks/README.md", "export/README.md", "models/README.md", "runtime/README.md"]
PAGES = [*READMES, "CONTRIBUTING.md", *MEMBERS, *GUIDES]
RUN_ELSEWHERE = {
    f"docs/{page}.md" for page in ("guides/pairs", "guides/generation", "reference/http")
}
"""Their snippets need heads of every kind, or a server: tests/unit/runtime/test_guides.py and
tests/unit/runtime/serving/clients/test_reference.py run them."""


@pytest.mark.parametrize("page", sorted({*GUIDES} - RUN_ELSEWHERE))
def test_the_python_snippets_of_a_page_run(page, tmp_path, monkeypatch):
    """In their order, each page in a folder with a bundle, `bundle/`, and the same again."""
    monkeypatch.chdir(tmp_path)
    for name in ("bundle", "bundle-2"):
        shutil.copytree(ROOT / "tests" / "data" / "bundle", tmp_path / name)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        code = compile(block.code, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if block.reason is None:
            done = eval(code, names)
            if inspect.iscoroutine(done):
                asyncio.run(done)


@pytest.mark.parametrize("page", PAGES)
def test_the_configurations_of_a_page_are_valid(page, tmp_path):
    for number, block in enumerate(blocks(page, "toml")):
        tables = tomllib.loads(block.code)
        if "project" in tables:
            continue  # of a plugin, see below
        if "encoder" in tables:
            file = tmp_path / f"{number}.toml"
            file.write_text(block.code, encoding="utf-8")
            config.load(file)
            continue
        for kind, known in (("data", config.DataConfig), ("heads", config.HeadConfig)):
            for name, keys in tables.pop(kind, {}).items():
                complete = {"train": "x.jsonl"} if kind == "data" else {"kind": "classification"}
                complete |= {"data": "x", "target": "y"} if "teacher" in keys else {}
                parse(known, complete | keys, where=f"{block}: {name}", error=ConfigError)
        parse(config.CardConfig, tables.pop("card", {}), where=str(block), error=ConfigError)
        training = tables.pop("training", {})
        parse(config.TrainingConfig, training, where=str(block), error=ConfigError)
        assert not tables, f"{block}: no such tables"


@pytest.mark.parametrize("page", PAGES)
def test_the_rows_of_a_page_are_json(page):
    for block in blocks(page, "json"):
        for line in block.code.splitlines():
            json.loads(line)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist(page):
    for block in blocks(page, "sh"):
        subprocess.run(["bash", "-n"], input=block.code, text=True, check=True)
    for place, line in commands(page):
        words = shlex.split(line.partition(" > ")[0], comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        try:
            _check_command(words)
        except (SystemExit, AssertionError, ValueError) as problem:
            pytest.fail(f"{place}: {line}: {problem!r}")


def _check_command(words):
    if words[:1] == ["torchrun"]:
        words = words[words.index("-m") + 1 :]
    match words:
        case ["polyhead", name, *rest]:
            if name.startswith("-"):
                return
            parser = argparse.ArgumentParser(prog=f"polyhead {name}")
            command(name).configure(parser)
            try:
                parser.parse_intermixed_args(rest)  # as `polyhead` itself
            except TypeError:  # it has commands of its own
                parser.parse_args(rest)
        case ["make", *rest]:
            makefile = text("Makefile")
            for target in (word for word in rest if "=" not in word):
                assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
        case ["pip", "install", *rest]:
            for word in rest:
                if word.startswith("./"):
                    assert (ROOT / word.partition("[")[0] / "pyproject.toml").is_file(), word
        case ["python", "-m", module, *_]:
            assert util.find_spec(module), module
        case ["python", "-c", code]:
            compile(code, "python -c", "exec")
        case ["python", file, *_]:
            assert (ROOT / file).is_file(), file
        case _:
            for word in words[1:]:
                if word.startswith(("examples/", "models/", "benchmarks/", "docs/", "tests/")):
                    assert (ROOT / word).exists(), word


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_and_file_of_the_text_exists(page):
    source, makefile = text(page), text("Makefile")
    for target in re.findall(r"`make ([\w-]+)", source):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for place in re.findall(r"\]\(([^)#\s]+)[^)]*\)", source):
        if "://" not in place:
            assert (ROOT / page).parent.joinpath(place).exists(), place


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_flag_of_the_text_exists(page):
    reference = text("docs/reference/cli.md")
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", prose):
        for name, verb in re.findall(r"\bpolyhead ([a-z]+)(?: ([a-z]+)\b)?", code):
            assert f"\n## polyhead {name}\n" in reference, code
            if verb and name == "bench":
                assert f"\n### polyhead {name} {verb}\n" in reference, code
        if not code.startswith("pip "):
            for flag in re.findall(r"(?<!\S)--[a-z][a-z-]+", code):
                assert re.search(rf"{flag}\b", reference), code


@pytest.mark.parametrize("page", PAGES)
def test_every_python_name_of_the_text_exists(page):
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for name in re.findall(r"`(polyhead(?:_\w+)?(?:\.\w+)+)", prose):
        assert resolve_name(name) is not None, name


def test_the_reference_of_commands_is_that_of_the_installed_commands():
    script = ROOT / "docs" / "cli_reference.py"
    spec = util.spec_from_file_location("cli_reference", script)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert text("docs/reference/cli.md") == module.page(), f"run: python {script}"


def test_the_readme_lists_every_command():
    installed = set(names())
    for page in READMES:
        shown = re.findall(r"^\| `polyhead (\w+)", text(page), flags=re.MULTILINE)
        assert sorted(shown) == sorted(installed)


DATACLASSES = [
    ("configuration.md", "## `[encoder]`", config.EncoderConfig),
    ("configuration.md", "## `[data.NAME]`", config.DataConfig),
    ("configuration.md", "## `[heads.NAME]`", config.HeadConfig),
    ("configuration.md", "### A layer of `hidden`", Dense),
    ("configuration.md", "## `[heads.NAME.decoder]`", config.DecoderConfig),
    ("configuration.md", "## `[heads.NAME.teacher]`", config.TeacherConfig),
    ("configuration.md", "## `[training]`", config.TrainingConfig),
    ("configuration.md", "## `[card]`", config.CardConfig),
    ("bundle.md", "### The whole", manifest.Manifest),
    ("bundle.md", "### A file", manifest.FileEntry),
    ("bundle.md", "### A graph", manifest.Graph),
    ("bundle.md", "### The encoder", manifest.EncoderInfo),
    ("bundle.md", "### A head", HeadSpec),
    ("bundle.md", "### A decoder", generation.Generation),
    ("bundle.md", "### Quality of a head", measured.HeadQuality),
    ("bundle.md", "### Reliability of a head", measured.Reliability),
    ("bundle.md", "### Coverage", measured.Coverage),
    ("bundle.md", "### The gate", measured.Gate),
    ("bundle.md", "### An attempt", measured.Attempt),
    ("bundle.md", "### The certificate", measured.Certificate),
    ("bundle.md", "## golden.json", golden.Golden),
    ("bundle.md", "### A golden example", golden.GoldenExample),
]


@pytest.mark.parametrize(
    ("page", "title", "kind"), DATACLASSES, ids=[kind.__name__ for *_, kind in DATACLASSES]
)
def test_a_reference_table_has_every_key_with_its_default(page, title, kind):
    shown = {row[0].strip("`"): row[1] for row in table(f"docs/reference/{page}", title)}
    inherited = {f.name for base in kind.__mro__[1:] if is_dataclass(base) for f in fields(base)}
    known = {f.name: _default(f) for f in fields(kind) if f.name not in inherited}
    assert {name: _shown_default(cell) for name, cell in shown.items()} == known


def _default(field):
    value = field.default
    if field.default_factory is not MISSING:
        value = field.default_factory()
    if value is MISSING:
        return "required"
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, str | bool | int | float | list | None) else {}


def _shown_default(cell):
    if cell in ("required", "none"):
        return None if cell == "none" else cell
    return tomllib.loads(f"value = {cell.strip('`')}")["value"]


def test_the_settings_of_load_have_every_setting_with_its_default():
    shown = {row[0].strip("`"): row[1] for row in table("docs/reference/load.md", "## Settings")}
    known = {
        name: parameter.default
        for name, parameter in inspect.signature(polyhead.load).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert {name: ast.literal_eval(cell.strip("`")) for name, cell in shown.items()} == known


def test_the_table_of_errors_has_every_error_once():
    rows = table("docs/reference/errors.md", "## What each means")
    tree = [
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, polyhead.PolyheadError)
    ]
    assert sorted(re.findall(r"`(\w+)`", " ".join(row[0] for row in rows))) == sorted(tree)


def test_the_page_of_results_is_made_of_the_newest_runs():
    page, folder = text("benchmarks/results/README.md"), ROOT / "benchmarks" / "results"
    made = "\n\n".join(publish.section(run, folder) for run in publish.newest(folder))
    assert publish.filled(page, made) == page, "run: make readme"


def test_the_peers_of_the_text_exist():
    shown = [row[0] for row in table("docs/explanation/measuring.md", "## Peers")]
    assert set(re.findall(r"`([\w-]+)`", " ".join(shown))) <= set(PEERS)


def test_the_python_reference_has_every_public_name():
    shown = re.findall(r"polyhead\.(\w+)", text("docs/reference/python.md"))
    assert set(polyhead.__all__) - {"__version__"} <= set(shown)


def test_the_guide_to_formats_lists_every_format():
    rows = table("docs/guides/formats.md", "# Data formats")
    assert re.findall(r"`(\w+)`", " ".join(row[0] for row in rows)) == list(FORMATS)


def test_the_entry_points_of_a_plugin_are_those_of_the_whole_example():
    (shown,) = [b for b in blocks("docs/guides/plugins.md", "toml") if "project" in b.code]
    declared = tomllib.loads(text("tests/data/polyhead-ordinal/pyproject.toml"))
    points = tomllib.loads(shown.code)["project"]["entry-points"]
    assert points == declared["project"]["entry-points"]


@pytest.mark.skipif(not util.find_spec("sphinx"), reason="needs Sphinx: make docs")
def test_the_pages_load_nothing_from_other_servers(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "docs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(\S+)\"", page.read_text())
        assert not [place for place in loaded if "//" in place], page


def test_the_limits_of_a_bundle_are_those_of_the_code():
    found = [each for each in vars(limits).values() if isinstance(each, limits.BundleLimit)]
    shown = table("docs/guides/untrusted.md", "## Limits")
    assert shown == [[each.what, f"{each.most:,}", each.largest] for each in found]
