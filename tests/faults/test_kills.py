"""Every command that writes is killed at random moments: the old or the new one stands, whole.

Half of the moments are spread over the whole run, half follow the first sign of writing. After the
kills one run is left alone: it succeeds and leaves nothing hidden. SEED=… draws other moments.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers
from hub_server import served

from polyhead.bundle import digest, read_parts
from polyhead_models import checkpoint
from polyhead_models.training.state import last_complete

KILLS = 20
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
class Run:
    """The command line in processes of its own; the folder has what the commands need."""

    folder: Path
    environment: dict[str, str]

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "polyhead", *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *words: str | Path) -> None:
        process = self.start(*words)
        said = process.communicate()[1].decode()
        assert process.returncode == 0, said
        assert not hidden(self.folder)

    def config(self, name: str, *, head: str, seed: int, epochs: int) -> None:
        encoder = json.dumps(str(self.folder / "encoder"))
        text = CONFIG.format(encoder=encoder, head=head, seed=seed, epochs=epochs)
        (self.folder / name).write_text(text)

    def killed(
        self, words: list[str], number: signal.Signals, moment: Callable[[], None]
    ) -> tuple[int, str]:
        """Exit code and stderr of a run that was sent a signal at a moment, if it still ran."""
        process = self.start(*words)
        moment()
        process.send_signal(number)
        said = process.communicate()[1].decode()
        if number != signal.SIGKILL and process.returncode > 0:
            assert process.returncode == 128 + number, said
            assert "Traceback" not in said, said
            assert f"interrupted ({number.name})" in said
        return process.returncode, said


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="module")
def polyhead(wordpiece_json, wordpiece, tmp_path_factory) -> Run:
    """A folder with an encoder, rows, checkpoints `a` and `b`, and what is made of them."""
    folder = tmp_path_factory.mktemp("kills")
    torch.manual_seed(0)
    made = transformers.BertConfig(
        vocab_size=wordpiece.vocabulary_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    transformers.BertModel(made).save_pretrained(folder / "encoder")
    (folder / "encoder" / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    sources = os.pathsep.join(path for path in sys.path if path.endswith("/src"))
    changes = {"PYTHONPATH": sources, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    run = Run(folder, {**os.environ, **changes})
    for seed, name in enumerate("ab"):
        run.config(f"{name}.toml", head=f"topic-{name}", seed=seed, epochs=2)
        run("train", f"{name}.toml", "-o", name)
        run("export", name, "-o", f"{name}.bundle", "--precision", "fp32")
        run("export", name, "-o", f"{name}.onnx", "--format", "optimum")
    return run


def folder_digest(path: Path) -> str:
    """Of all files, their names and contents."""
    found = [(file.name, digest.sha256(file)) for file in sorted(path.iterdir())]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


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
    "export": (["export", "{}", "--precision", "int8", "--max-flips", "100"], heads_of_bundle),
    "export-optimum": (["export", "{}", "--format", "optimum"], label_of_folder),
    "combine": (["combine", "{}.bundle", "{}.bundle", "--prefix=", "--prefix=x"], heads_of_bundle),
    "combine-checkpoints": (
        ["combine", "{}", "{}", "--prefix=", "--prefix=x"],
        heads_of_checkpoint,
    ),
    "import-onnx": (["import", "{}.onnx", "--head", "topic-{}"], heads_of_bundle),
}


def moments(kill: int, chance: random.Random, seconds: float, folder: Path, name: str):
    """Somewhere in the run, or soon after the hidden folder is there."""

    def anywhere() -> None:
        time.sleep(chance.uniform(0, seconds))

    def while_writing() -> None:
        end = time.monotonic() + 4 * seconds
        while not any(folder.glob(f".{name}.*.writing")) and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(chance.choice([0, 0.002, 0.01, 0.05, 0.2]) * chance.random())

    return while_writing if kill % 2 else anywhere


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("first", [False, True], ids=["replaced", "first"])
def test_the_old_or_the_new_one_stands(polyhead, writer, first, capsys):
    words, heads = WRITERS[writer]
    name = f"{writer}-{'first' if first else 'replaced'}"
    target, chance = polyhead.folder / name, random.Random(f"{SEED} {name}")
    old, new = ([*(word.format(*each * 2) for word in words), "-o", name] for each in "ab")
    polyhead(*old)
    kept = polyhead.folder / f"{name}-old"
    before, seconds = heads(target.rename(kept)), 0.0
    start = time.monotonic()
    polyhead(*new)
    seconds, after = time.monotonic() - start, heads(target)
    assert before != after
    ended = {"killed": 0, "old": 0, "new": 0, "left": 0}
    for kill in range(KILLS // 2 if first else KILLS):
        shutil.rmtree(target, ignore_errors=True)
        if not first:
            shutil.copytree(kept, target)
        moment = moments(kill, chance, seconds, polyhead.folder, name)
        code, _ = polyhead.killed(new, SIGNALS[kill % 3], moment)
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
    polyhead(*new)
    assert heads(target) == after
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {seconds:.1f} s a run, {ended}")


@pytest.fixture(scope="module")
def hub(polyhead) -> Iterator[object]:
    with served(polyhead.folder / "a.bundle") as server:
        environment = {"HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_none"}
        polyhead.environment |= environment
        yield server


def test_a_push_that_is_killed_leaves_the_old_or_the_new_bundle(polyhead, hub, capsys):
    words, chance = ["push", "b.bundle", "hf:team/bundle"], random.Random(SEED)
    before = hub.folder
    start = time.monotonic()
    polyhead(*words)
    seconds, ended = time.monotonic() - start, {"old": 0, "new": 0}
    for kill in range(KILLS):
        hub.folder = before
        polyhead.killed(
            words, SIGNALS[kill % 3], lambda: time.sleep(chance.uniform(0.3, 1) * seconds)
        )
        found = heads_of_bundle(hub.folder)
        assert found in ({"topic-a"}, {"topic-b"})
        ended["new" if found == {"topic-b"} else "old"] += 1
    polyhead(*words)
    assert heads_of_bundle(hub.folder) == {"topic-b"}
    with capsys.disabled():
        sys.stdout.write(f"\npush: {seconds:.1f} s a run, {ended}")


def test_a_run_that_is_killed_and_resumed_ends_as_if_nothing_had_been(polyhead, capsys):
    polyhead.config("long.toml", head="topic", seed=3, epochs=60)
    start = time.monotonic()
    polyhead("train", "long.toml", "-o", "uninterrupted")
    seconds = time.monotonic() - start
    expected = checkpoint.load(polyhead.folder / "uninterrupted").model.state_dict()
    target, partial = polyhead.folder / "resumed", polyhead.folder / ".resumed.partial"
    words, chance = ["train", "long.toml", "-o", "resumed", "--resume"], random.Random(SEED)
    kills, whole = 0, 0
    while kills < KILLS:
        wait = chance.uniform(0.3, 1.2) * seconds
        code, _ = polyhead.killed(words, SIGNALS[kills % 3], lambda wait=wait: time.sleep(wait))
        kills += code != 0
        if target.exists():
            assert same(target, expected)
            polyhead(*words)  # which removes what is left of the run
            shutil.rmtree(target)
        elif (last := partial.is_dir() and last_complete(partial)) is not None and last:
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
