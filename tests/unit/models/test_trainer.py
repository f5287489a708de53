from dataclasses import replace

import numpy as np
import pytest
import torch

from polyhead_models import checkpoint, config
from polyhead_models.heads.base import IGNORED
from polyhead_models.training.rows import TrainingRow
from polyhead_models.training.trainer import MultiHeadTrainer

TAGS = torch.tensor([IGNORED, 1, 0, IGNORED])
ROWS = [
    TrainingRow(np.array([2, 9, 8, 7, 6, 3]), {"topic": torch.tensor(1)}),
    TrainingRow(np.array([2, 9, 8, 3]), {"entities": TAGS}),
]


@pytest.fixture
def trainer(trained, write_config, tmp_path):
    """A trainer over two rows of other heads, with weights 2 and 3 for their losses."""
    heads = {"topic": {"loss_weight": 2.0}, "entities": {"loss_weight": 3.0}}
    heads["embedding"] = {"hold": 0}
    settings = config.load(write_config(tmp_path, heads=heads))
    loaded = checkpoint.load(trained)
    made = replace(loaded, description=replace(loaded.description, config=settings))
    return MultiHeadTrainer(made, ROWS, [], tmp_path / "state", untouched=made)


@pytest.fixture
def batch(trainer):
    """The only batch, the longer row first."""
    (found,) = trainer.get_train_dataloader()
    order = found["attention_mask"].sum(dim=1).argsort(descending=True)
    return {
        "input_ids": found["input_ids"][order],
        "attention_mask": found["attention_mask"][order],
        "targets": {name: target[order] for name, target in found["targets"].items()},
    }


def test_the_shorter_row_is_padded_and_masked(batch):
    assert batch["input_ids"].tolist() == [[2, 9, 8, 7, 6, 3], [2, 9, 8, 3, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]


def test_every_trained_head_has_targets_in_every_batch(batch):
    assert {name: target.tolist() for name, target in batch["targets"].items()} == {
        "topic": [1, IGNORED],
        "entities": [[IGNORED] * 6, [*TAGS.tolist(), IGNORED, IGNORED]],
    }


@torch.inference_mode()
def test_the_loss_is_the_weighted_sum_of_the_losses_of_the_heads(trainer, batch):
    objective = trainer.model.eval()
    logits = objective.model(batch["input_ids"], batch["attention_mask"])
    topic = -torch.log_softmax(logits["topic"][0], dim=-1)[1]
    tags = torch.log_softmax(logits["entities"][1], dim=-1)
    entities = -(tags[1, 1] + tags[2, 0]) / 2
    found = trainer.compute_loss(objective, batch)
    assert found.item() == pytest.approx((2 * topic + 3 * 3 * entities).item(), rel=1e-5)
