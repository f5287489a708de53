"""Two processes under `torchrun`, as a user starts them."""

import json
import subprocess

import pytest

EPOCHS = 3
BATCH_TOKENS = 64
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from polyhead.cli.main import main
from polyhead.errors import PolyheadError
from polyhead_models import checkpoint, config
from polyhead_models.errors import DataError
from polyhead_models.training import processes
from polyhead_models.training.rows import TrainingRow
from polyhead_models.training.trainer import MultiHeadTrainer
from polyhead_models.training import train

finished, folder = Path(sys.argv[1]), Path(sys.argv[2])
processes.join()
rows = [TrainingRow(np.full(3 + row % 20, row)) for row in range(101)]
loaded = checkpoint.load(finished)
trainer = MultiHeadTrainer(loaded, rows, [], folder / "state", untouched=loaded)
loader = trainer.get_train_dataloader()
epochs = []
for epoch in range(2):
    loader.set_epoch(epoch)
    epochs.append([batch["input_ids"][:, 0].tolist() for batch in loader])
found = {"epochs": epochs}


def one_fails():
    with processes.together():
        if processes.index() == 1:
            raise DataError("row 7")


def refused(name, action):
    try:
        action()
    except PolyheadError as problem:
        found[name] = [type(problem).__name__, str(problem)]


refused("exists", lambda: train(config.load(finished.parent / "config.toml"), finished))
refused("differs", lambda: processes.same(processes.index(), what="numbers"))
refused("fails", one_fails)
(folder / f"{processes.index()}.json").write_text(json.dumps(found))
sys.exit(main(["train", sys.argv[3], "-o", sys.argv[4], "--json"]))
"""


def write_heads(write_config, folder):
    """A configuration with all that may leave weights without a gradient.

    The heads read the first layer, so that nothing reads the second; nothing trains or holds the
    embedding's mix; some rows have no topic, some no entities.
    """
    path = write_config(
        folder,
        heads={
            "topic": {"layers": 1},
            "entities": {"layers": 1},
            "embedding": {"layers": "mix", "hold": 0.0},
            "search": {"kind": "embedding", "layers": 1},
        },
        training={
            "epochs": EPOCHS,
            "batch_tokens": BATCH_TOKENS,
            "loss_weighting": "uncertainty",
        },
    )
    file = folder / "data" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row.pop("topic" if number % 5 else "entities")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def two(trained, write_config, command, tmp_path_factory):
    """Two processes that ran SCRIPT: the folder of their training, and what they said."""
    folder, (python, *_), environment = tmp_path_factory.mktemp("two"), *command
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)
    path = write_heads(write_config, folder)
    words = [python, *LAUNCH, script, trained, script.parent, path, folder / "made"]
    done = subprocess.run(
        [*map(str, words)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return folder, done, [json.loads((script.parent / f"{i}.json").read_text()) for i in (0, 1)]


def test_two_processes_make_one_checkpoint(two):
    folder, done, _ = two
    assert {path.name for path in folder.iterdir()} == {"data", "config.toml", "made"}
    assert json.loads(done.stdout) == json.loads((folder / "made" / "metrics.json").read_text())


def test_the_metrics_say_how_many_processes_there_were(two, trained):
    made, alone = (json.loads((p / "metrics.json").read_text()) for p in (two[0] / "made", trained))
    assert (made["processes"], alone["processes"]) == (2, 1)


def test_two_processes_speak_once(two):
    for epoch in range(1, EPOCHS + 1):
        assert two[1].stderr.count(f"epoch {epoch}: topic") == 1
    assert "Warning" not in two[1].stderr


@pytest.fixture
def library(two):
    """What each of two processes finds that call the library; see SCRIPT."""
    return two[2]


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


def test_an_error_in_one_process_is_one_in_all(library):
    assert [found["fails"] for found in library] == [
        ["PeerError", "process 1: row 7"],
        ["DataError", "row 7"],
    ]


def test_processes_that_differ_are_refused(library):
    assert library[0]["differs"] == library[1]["differs"]
    assert "process 1 has others than process 0" in library[0]["differs"][1]
