"""Every command that writes is killed at random moments: the old or the new one stands, whole.

Half of the moments are spread over the whole run, half follow the first sign of writing. After the
kills one run is left alone: it succeeds and leaves nothing hidden. SEED=… draws other moments.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hub_server import Hub, served

from polyhead.bundle import read_parts
from polyhead_models import checkpoint
from polyhead_models.training.state import last_complete

KILLS = 20
SERVER = Path(__file__).with_name("command_server.py")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SEED = int(os.environ.get("SEED", "1"))
ROWS = [
    {"text": f"{start} {name} {end}", "topic": topic}
    for name in ("Anna", "Bo", "Zoé", "Chen")
    for topic, start, end in (
        ("home", "here lives", "in Oslo"),
        ("late", "the parcel of", "was late"),
        ("praise", "thanks,", "the parcel is not late!"),
    )
]
CONFIG = """
[encoder]
name = {encoder}
max_tokens = 32
[data.messages]
train = "rows.jsonl"
validation = "rows.jsonl"
[heads.{head}]
kind = "classification"
data = "messages"
target = "topic"
[training]
epochs = {epochs}
batch_tokens = 64
learning_rate = 3e-3
precision = "fp32"
seed = {seed}
"""


@dataclass
class Commands:
    """The command line in forks of one process; the folder has what the commands need."""

    folder: Path
    encoder: Path
    server: subprocess.Popen[str]
    hub: Hub

    def start(self, *words: str | Path) -> int:
        """Begin a command; returns the number of its process, for `ended` to wait for."""
        said = str(self.folder.parent / "stderr")
        self.server.stdin.write(json.dumps([said, *map(str, words)]) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def ended(self) -> tuple[int, str]:
        """Exit code, negative for a signal, and stderr."""
        code = int(self.server.stdout.readline())
        return code, (self.folder.parent / "stderr").read_text()

    def __call__(self, *words: str | Path) -> float:
        """Run a command that succeeds; gives the seconds that it took."""
        start = time.monotonic()
        self.start(*words)
        code, said = self.ended()
        assert code == 0, said
        assert not hidden(self.folder)
        return time.monotonic() - start

    def config(self, name: str, *, head: str, seed: int, epochs: int) -> None:
        encoder = json.dumps(str(self.encoder))
        text = CONFIG.format(encoder=encoder, head=head, seed=seed, epochs=epochs)
        (self.folder / name).write_text(text)

    def killed(self, words: list[str], number: signal.Signals, moment: Callable[[], None]) -> int:
        """Exit code of a command that was sent a signal at a moment, if it still ran."""
        process = self.start(*words)
        moment()
        with suppress(ProcessLookupError):
            os.kill(process, number)
        code, said = self.ended()
        assert "Traceback" not in said, said
        if code not in (0, -number):  # before the command line answers signals, or after
            assert code == 128 + number, said
            assert f"interrupted ({number.name})" in said
        return code


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="module")
def polyhead(encoder, tmp_path_factory) -> Iterator[Commands]:
    """A folder with rows, checkpoints `a` and `b`, and what is made of them."""
    folder = tmp_path_factory.mktemp("kills") / "work"
    folder.mkdir()
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    sources = os.pathsep.join(path for path in sys.path if path.endswith("/src"))
    changes = {
        "PYTHONPATH": sources,
        "OMP_NUM_THREADS": "1",
        "HF_TOKEN": "hf_none",
        "HF_HUB_OFFLINE": "0",  # for the push; all else is local
    }
    with (
        served(folder / "a.bundle") as hub,
        subprocess.Popen(
            [sys.executable, SERVER],
            cwd=folder,
            env={**os.environ, **changes, "HF_ENDPOINT": hub.address},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        commands = Commands(folder, encoder, server, hub)
        for seed, name in enumerate("ab"):
            commands.config(f"{name}.toml", head=f"topic-{name}", seed=seed, epochs=2)
            commands("train", f"{name}.toml", "-o", name)
            commands("export", name, "-o", f"{name}.bundle", "--precision", "fp32")
            commands("export", name, "-o", f"{name}.onnx", "--format", "optimum")
        yield commands
        server.stdin.close()


def heads_of_checkpoint(path: Path) -> set[str]:
    return set(checkpoint.load(path).model.specs)


def heads_of_bundle(path: Path) -> set[str]:
    return {head for part in read_parts(path) for head in part.manifest.heads}


def label_of_folder(path: Path) -> set[str]:
    """The files of Optimum's format hold no digests: the graph is read, and the head's name."""
    import onnx

    onnx.checker.check_model(str(path / "model.onnx"), full_check=True)
    assert len(list(path.iterdir())) == 4
    return {json.loads((path / "config.json").read_text())["polyhead"]["head"]}


WRITERS = {
    "train": (["train", "{}.toml", "--overwrite"], heads_of_checkpoint),
    "export": (["export", "{}", "--precision", "fp32"], heads_of_bundle),
    "export-optimum": (["export", "{}", "--format", "optimum"], label_of_folder),
    "combine": (["combine", "{}.bundle", "{}.bundle", "--prefix=", "--prefix=x"], heads_of_bundle),
    "combine-checkpoints": (
        ["combine", "{}", "{}", "--prefix=", "--prefix=x"],
        heads_of_checkpoint,
    ),
    "import": (["import", "{encoder}", "--head", "topic-{}"], heads_of_checkpoint),
    "import-onnx": (["import", "{}.onnx", "--head", "topic-{}"], heads_of_bundle),
}


def moments(kill: int, chance: random.Random, seconds: float, folder: Path, name: str):
    """Somewhere in the run, or soon after a new hidden folder is there."""
    left = set(folder.glob(f".{name}.*.writing"))

    def anywhere() -> None:
        time.sleep(chance.uniform(0, seconds))

    def while_writing() -> None:
        end = time.monotonic() + 4 * seconds
        while set(folder.glob(f".{name}.*.writing")) <= left and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(chance.choice([0, 0.002, 0.01, 0.05, 0.2]) * chance.random())

    return while_writing if kill % 2 else anywhere


REFUSE_OLD = ("combine-checkpoints", "import")


@pytest.mark.parametrize(
    ("writer", "first"),
    [
        pytest.param(writer, first, id=f"{writer}-{'first' if first else 'replaced'}")
        for writer in WRITERS
        for first in (False, True)
        if first or writer not in REFUSE_OLD
    ],
)
def test_the_old_or_the_new_one_stands(polyhead, writer, first, capsys):
    words, heads = WRITERS[writer]
    name = f"{writer}-{'first' if first else 'replaced'}"
    target, chance = polyhead.folder / name, random.Random(f"{SEED} {name}")
    old, new = (
        [*(word.format(*each * 2, encoder=polyhead.encoder) for word in words), "-o", name]
        for each in "ab"
    )
    polyhead(*old)
    kept = polyhead.folder / f"{name}-old"
    before = heads(target.rename(kept))
    seconds, after = polyhead(*new), heads(target)  # over nothing, since not all take the old one
    assert before != after
    ended = {"killed": 0, "old": 0, "new": 0, "left": 0}
    for kill in range(KILLS // 2 if first else KILLS):
        shutil.rmtree(target, ignore_errors=True)
        if not first:
            shutil.copytree(kept, target)
        moment = moments(kill, chance, seconds, polyhead.folder, name)
        code = polyhead.killed(new, SIGNALS[kill % 3], moment)
        ended["killed"] += code != 0
        left = hidden(polyhead.folder)
        assert len(left) <= (2 if writer == "train" else 1), left
        ended["left"] += bool(left)
        if first and not target.exists():
            assert code != 0
            ended["old"] += 1
            continue
        found = heads(target)
        assert found in (before, after), f"{found} after kill {kill}"
        ended["new" if found == after else "old"] += 1
    if first:
        shutil.rmtree(target, ignore_errors=True)
    polyhead(*new)
    assert heads(target) == after
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {seconds:.1f} s a run, {ended}")


def test_a_push_that_is_killed_leaves_the_old_or_the_new_bundle(polyhead, capsys):
    words, chance, hub = ["push", "b.bundle", "hf:team/bundle"], random.Random(SEED), polyhead.hub
    before, seconds, ended = hub.folder, polyhead(*words), {"old": 0, "new": 0}
    for kill in range(KILLS):
        hub.folder, wait = before, chance.uniform(0, 1.1) * seconds
        polyhead.killed(words, SIGNALS[kill % 3], partial(time.sleep, wait))
        found = heads_of_bundle(hub.folder)
        assert found in ({"topic-a"}, {"topic-b"})
        ended["new" if found == {"topic-b"} else "old"] += 1
    polyhead(*words)
    assert heads_of_bundle(hub.folder) == {"topic-b"}
    with capsys.disabled():
        sys.stdout.write(f"\npush: {seconds:.1f} s a run, {ended}")


def test_a_run_that_is_killed_and_resumed_ends_as_if_nothing_had_been(polyhead, capsys):
    polyhead.config("long.toml", head="topic", seed=3, epochs=60)
    seconds = polyhead("train", "long.toml", "-o", "uninterrupted")
    expected = checkpoint.load(polyhead.folder / "uninterrupted").model.state_dict()
    target, run = polyhead.folder / "resumed", polyhead.folder / ".resumed.partial"
    words, chance = ["train", "long.toml", "-o", "resumed", "--resume"], random.Random(SEED)
    kills, whole = 0, 0
    while kills < KILLS:
        wait = chance.uniform(0, 0.5) * seconds
        code = polyhead.killed(words, SIGNALS[kills % 3], partial(time.sleep, wait))
        kills += code != 0
        if target.exists():
            assert same(target, expected)
            polyhead(*words)  # which removes what is left of the run
            shutil.rmtree(target)
        elif last := last_complete(run):
            safetensors.torch.load_file(Path(last) / "model.safetensors")
            json.loads((Path(last) / "trainer_state.json").read_text())
            whole += 1
    polyhead(*words)
    assert same(target, expected)
    with capsys.disabled():
        sys.stdout.write(f"\nresume: {seconds:.1f} s a run, {kills} kills, {whole} whole states")


def same(path: Path, expected: dict[str, torch.Tensor]) -> bool:
    found = checkpoint.load(path).model.state_dict()
    return all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
