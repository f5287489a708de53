"""Errors and kills in trainings of two processes, as a user starts them."""

import signal
import subprocess
import threading

import pytest
import torch

from polyhead_models import checkpoint, config
from polyhead_models.errors import CheckpointError
from polyhead_models.training import resumable, train
from polyhead_models.training.state import last_complete

LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
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

    def finish(*words):
        start, environment = torchrun(*words)
        return subprocess.run(start, env=environment, capture_output=True, text=True, timeout=300)

    return finish


def test_killed_processes_are_resumed_to_the_same_weights(torchrun, run, write_config, tmp_path):
    path = write_config(tmp_path, training={"epochs": 3, "batch_tokens": 64})
    whole, target = tmp_path / "whole", tmp_path / "made"
    assert run("-m", "polyhead", "train", path, "-o", whole).returncode == 0
    words = ["-m", "polyhead", "train", path, "-o", target]
    start, environment = torchrun(*words)
    seen = b""
    with subprocess.Popen(start, env=environment, stderr=subprocess.PIPE, bufsize=0) as process:
        guard = threading.Timer(300, process.kill)
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
    resumed, expected = (checkpoint.load(f).model.state_dict() for f in (target, whole))
    for name, value in expected.items():
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
def test_an_error_in_the_middle_of_training_ends_both(run, write_config, tmp_path, rank):
    (tmp_path / "script.py").write_text(FAILING)
    done = run(tmp_path / "script.py", rank, write_config(tmp_path), tmp_path / "made")
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert not (tmp_path / "made").exists()
