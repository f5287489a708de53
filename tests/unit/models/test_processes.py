"""Two processes under `torchrun`, as a user starts them."""

import json
import signal
import subprocess
import threading

import pytest
import torch

from polyhead_models import checkpoint, config
from polyhead_models.errors import CheckpointError
from polyhead_models.training import resumable, train
from polyhead_models.training.state import last_complete

EPOCHS = 3
BATCH_TOKENS = 64
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from polyhead.errors import PolyheadError
from polyhead_models import checkpoint, config
from polyhead_models.training import processes
from polyhead_models.training.rows import TrainingRow
from polyhead_models.training.trainer import MultiHeadTrainer
from polyhead_models.training import train

finished, folder = Path(sys.argv[1]), Path(sys.argv[2])
processes.join()
rows = [TrainingRow(np.full(3 + row % 20, row)) for row in range(101)]
trainer = MultiHeadTrainer(checkpoint.load(finished), rows, [], folder / "state")
loader = trainer.get_train_dataloader()
epochs = []
for epoch in range(2):
    loader.set_epoch(epoch)
    epochs.append([batch["input_ids"][:, 0].tolist() for batch in loader])
found = {"epochs": epochs}


def refused(name, action):
    try:
        action()
    except PolyheadError as problem:
        found[name] = [type(problem).__name__, str(problem)]


refused("exists", lambda: train(config.load(finished.parent / "config.toml"), finished))
refused("differs", lambda: processes.same(processes.index(), what="numbers"))
(folder / f"{processes.index()}.json").write_text(json.dumps(found))
processes.leave()
"""

FAILING = """
import os, sys
from polyhead.cli.main import main
from polyhead_models.training.trainer import MultiHeadTrainer

step = MultiHeadTrainer.training_step


def failing(self, *args, **kwargs):
    if os.environ["RANK"] == sys.argv[1] and self.state.global_step == 2:
        raise OSError("no space left")
    return step(self, *args, **kwargs)


MultiHeadTrainer.training_step = failing
sys.exit(main(["train", sys.argv[2], "-o", sys.argv[3]]))
"""


@pytest.fixture(scope="module")
def torchrun(command):
    """How to start a module or a file in two processes: words and environment."""
    (python, *_), environment = command
    return lambda *words: ([python, *LAUNCH, *map(str, words)], environment)


@pytest.fixture(scope="module")
def run(torchrun):
    """Run two processes to their end."""

    def finish(*words, timeout=120):
        start, environment = torchrun(*words)
        return subprocess.run(
            start, env=environment, capture_output=True, text=True, timeout=timeout
        )

    return finish


def write_heads(write_config, folder, **training):
    """A configuration with all that may leave weights without a gradient.

    The heads read the first layer, so that nothing reads the second; the embedding's mix is never
    trained; some rows have no topic, some no entities.
    """
    path = write_config(
        folder,
        heads={
            "topic": {"layers": 1},
            "entities": {"layers": 1},
            "embedding": {"layers": "mix"},
        },
        training={
            "epochs": EPOCHS,
            "batch_tokens": BATCH_TOKENS,
            "loss_weighting": "uncertainty",
            **training,
        },
    )
    file = folder / "data" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row.pop("topic" if number % 5 else "entities")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def two(write_config, tmp_path_factory, run):
    """A finished run of two processes: its folder, and what it said."""
    folder = tmp_path_factory.mktemp("two")
    path = write_heads(write_config, folder)
    done = run("-m", "polyhead", "train", path, "-o", folder / "made", "--json")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_two_processes_make_one_checkpoint(two):
    folder, done = two
    assert {path.name for path in folder.iterdir()} == {"data", "config.toml", "made"}
    assert json.loads(done.stdout) == json.loads((folder / "made" / "metrics.json").read_text())


def test_the_metrics_say_how_many_processes_there_were(two, trained):
    made, alone = (json.loads((p / "metrics.json").read_text()) for p in (two[0] / "made", trained))
    assert (made["processes"], alone["processes"]) == (2, 1)


def test_two_processes_speak_once(two):
    for epoch in range(1, EPOCHS + 1):
        assert two[1].stderr.count(f"epoch {epoch}: topic") == 1
    assert "Warning" not in two[1].stderr


@pytest.fixture(scope="module")
def library(trained, run, tmp_path_factory):
    """What each of two processes finds that call the library; see SCRIPT."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "script.py").write_text(SCRIPT)
    done = run(folder / "script.py", trained, folder)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{index}.json").read_text()) for index in (0, 1)]


def test_every_row_is_seen_once_in_an_epoch(library):
    one, two = (found["epochs"] for found in library)
    for epoch in range(2):
        assert len(one[epoch]) == len(two[epoch]) > 1
        rows = [row for batch in one[epoch] + two[epoch] for row in batch]
        assert sorted(rows) == list(range(101))
    assert one[0] != one[1]


def test_a_refusal_of_the_first_process_is_one_of_all(library):
    (kind, message), (other, told) = (found["exists"] for found in library)
    assert (kind, other) == ("CheckpointError", "PeerError")
    assert told == f"process 0: {message}"


def test_processes_that_differ_are_refused(library):
    assert library[0]["differs"] == library[1]["differs"]
    assert "process 1 has others than process 0" in library[0]["differs"][1]


def test_killed_processes_are_resumed_to_the_same_weights(
    two, torchrun, run, write_config, tmp_path
):
    path, target = write_heads(write_config, tmp_path), tmp_path / "made"
    words = ["-m", "polyhead", "train", path, "-o", target]
    start, environment = torchrun(*words)
    seen = b""
    with subprocess.Popen(start, env=environment, stderr=subprocess.PIPE, bufsize=0) as process:
        guard = threading.Timer(120, process.kill)
        guard.start()
        while b"epoch 2: " not in seen and (part := process.stderr.read(4096)):
            seen += part
        process.send_signal(signal.SIGTERM)  # torchrun passes it on to both
        process.stderr.read()
        guard.cancel()
    assert process.returncode != 0, seen.decode()
    assert last_complete(tmp_path / ".made.partial") is not None
    made = config.load(path)
    assert not resumable(made, target)
    with pytest.raises(CheckpointError, match="had 2 processes, this one has 1"):
        train(made, target, resume=True)

    done = run(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert "epoch 1: " not in done.stderr
    resumed, whole = (checkpoint.load(f / "made").model.state_dict() for f in (tmp_path, two[0]))
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_an_error_in_one_process_ends_both(run, write_config, write_rows, tmp_path):
    path = write_config(tmp_path, data={"messages": {"validation": "data/rows-${RANK}.jsonl"}})
    good = (tmp_path / "data" / "validation.jsonl").read_text(encoding="utf-8")
    (tmp_path / "data" / "rows-0.jsonl").write_text(good, encoding="utf-8")
    write_rows(tmp_path / "data" / "rows-1.jsonl", [{"text": 7, "topic": "home"}])
    done = run("-m", "polyhead", "train", path, "-o", tmp_path / "made")
    assert done.returncode == 1
    assert done.stderr.count("polyhead train: ") == 1
    assert "process 1" in done.stderr
    assert done.stderr.count("Traceback") == 1, "the launcher's own, and no other"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_the_middle_of_training_ends_both_within_a_minute(
    run, write_config, tmp_path, rank
):
    (tmp_path / "script.py").write_text(FAILING)
    done = run(
        *(tmp_path / "script.py", rank, write_config(tmp_path), tmp_path / "made"), timeout=60
    )
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert not (tmp_path / "made").exists()
