"""The rooms of the house: imports run downward, nothing runs in a circle, one name is one thing.

Read from the source with `ast`: imports inside functions and under TYPE_CHECKING count as well.
"""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "polyhead": ROOT / "runtime" / "src",
    "polyhead_models": ROOT / "models" / "src",
    "polyhead_export": ROOT / "export" / "src",
    "polyhead_bench": ROOT / "benchmarks" / "src",
}
RUNTIME = SOURCES["polyhead"] / "polyhead"

# From the roof down. A room imports from its own line only itself, and from all lines below.
# "polyhead" is the package's __init__: what users import.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("polyhead",),
    ("serving",),
    ("loading",),
    ("verify",),
    ("engine",),
    ("_assembly",),
    ("_call",),
    ("_model",),
    ("prediction",),
    ("inference", "heads"),
    ("text",),
    ("bundle",),
    ("system",),
    ("errors",),
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}

MOST_LINES = 60
MOST_ENTRIES = 18


def modules(package, source):
    """Path by dotted name of every module of a distribution."""
    found = {}
    for path in sorted((source / package).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path, known):
    """Line by dotted name of the modules in `known` that a file imports."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in inner]
        found |= {name: node.lineno for name in names if name in known}
    return found


def room(module):
    return module.split(".")[1] if "." in module else "polyhead"


def upward(package, source):
    """Imports that do not run down, one line of text each."""
    known = modules(package, source)
    for module, path in known.items():
        own = room(module)
        for name, line in imports(path, known).items():
            other = room(name)
            here, there = FLOOR_OF.get(own), FLOOR_OF.get(other)
            if own == other or here is None or there is None:
                continue
            if there <= here:
                yield f"{path.relative_to(source)}:{line}: {own} imports {name}"


def circles(package, source):
    """Circles of imports, each as ``a -> b -> a``."""
    known = modules(package, source)
    graph = {module: set(imports(path, known)) - {module} for module, path in known.items()}
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as problem:
            circle = problem.args[1]
            yield " -> ".join(reversed(circle))
            graph[circle[1]].discard(circle[0])
        else:
            return


def definitions(kind):
    """Path and node of all definitions of a kind in the four distributions."""
    for package, source in SOURCES.items():
        for path in modules(package, source).values():
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, kind):
                    yield path, node


def code_lines(path, node):
    """Lines of a function without docstring, comments and blank lines."""
    lines = path.read_text(encoding="utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
    if ast.get_docstring(node) is not None:
        text = node.body[0]
        del lines[text.lineno - node.lineno : text.end_lineno - node.lineno + 1]
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))


def place(path, node):
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_module_of_the_runtime_has_a_floor():
    strangers = {room(module) for module in modules("polyhead", RUNTIME.parent)} - set(FLOOR_OF)
    assert not strangers, f"rooms that FLOORS does not know: {sorted(strangers)}"


def test_imports_of_the_runtime_run_downward():
    found = list(upward("polyhead", RUNTIME.parent))
    assert not found, "imports that run upward or sideways:\n" + "\n".join(found)


@pytest.mark.parametrize("package", SOURCES)
def test_no_modules_import_each_other_in_a_circle(package):
    found = list(circles(package, SOURCES[package]))
    assert not found, "circles of imports:\n" + "\n".join(found)


def test_a_room_says_what_comes_in_and_what_goes_out():
    silent = []
    for path in sorted(RUNTIME.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if "Comes in:" not in text or "Goes out:" not in text:
            silent.append(str(path.relative_to(ROOT)))
    assert not silent, "no 'Comes in: … Goes out: …' in the docstring of:\n" + "\n".join(silent)


def test_the_top_of_the_runtime_is_short():
    entries = sorted(path.name for path in RUNTIME.iterdir() if path.name != "__pycache__")
    assert len(entries) <= MOST_ENTRIES, f"{len(entries)} entries in {RUNTIME.name}/: {entries}"


def test_one_class_name_is_one_class():
    places = defaultdict(list)
    for path, node in definitions(ast.ClassDef):
        if not node.name.startswith("_"):
            places[node.name].append(place(path, node))
    twice = [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1]
    assert not twice, f"{len(twice)} names are of several classes:\n" + "\n".join(sorted(twice))


def test_a_function_fits_a_screen():
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    counted = [(path, node, code_lines(path, node)) for path, node in definitions(kinds)]
    long = [f"{place(p, n)}: {n.name}, {count}" for p, n, count in counted if count > MOST_LINES]
    assert not long, f"functions of over {MOST_LINES} lines of code:\n" + "\n".join(long)


def test_what_these_checks_would_find(tmp_path):
    files = {
        "polyhead/__init__.py": "",
        "polyhead/errors.py": "def f():\n    from polyhead.text import words",
        "polyhead/text/__init__.py": "",
        "polyhead/text/words.py": "import polyhead.errors",
        "polyhead/heads/__init__.py": "from polyhead import inference",
        "polyhead/inference/__init__.py": "from polyhead.text import words",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(upward("polyhead", tmp_path)) == [
        "polyhead/errors.py:2: errors imports polyhead.text.words",
        "polyhead/heads/__init__.py:1: heads imports polyhead.inference",
    ]
    (circle,) = circles("polyhead", tmp_path)
    assert set(circle.split(" -> ")) == {"polyhead.errors", "polyhead.text.words"}
