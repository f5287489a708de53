import json
import shutil
from dataclasses import replace

import pytest
import torch

from polyhead.errors import PolyheadError
from polyhead_models import checkpoint
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.errors import CheckpointError

IDS = torch.tensor([[2, 60, 70, 80, 3], [2, 61, 71, 3, 0]])
MASK = (IDS > 0).long()


@pytest.fixture
def copy(trained, tmp_path):
    """A checkpoint of the test's own, to damage."""
    return shutil.copytree(trained, tmp_path / "checkpoint")


@torch.inference_mode()
def test_a_saved_checkpoint_gives_the_same_logits_when_loaded(learnt, tmp_path):
    checkpoint.save(tmp_path, learnt, {})
    again = checkpoint.load(tmp_path)
    before, after = (made.model(IDS, MASK) for made in (learnt, again))
    assert before.keys() == after.keys() == {"topic", "entities", "embedding"}
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_saved_checkpoint_is_the_same_in_everything_else(learnt, tmp_path):
    checkpoint.save(tmp_path, learnt, {"seconds": 1})
    again = checkpoint.load(tmp_path)
    assert again.description == learnt.description
    assert again.tokenizer.to_json() == learnt.tokenizer.to_json()
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"seconds": 1}


def test_a_loaded_checkpoint_is_ready_for_use(learnt):
    assert not learnt.model.training


def test_a_mixed_layer_and_hidden_widths_come_back(learnt, tmp_path):
    description = learnt.description
    heads = {**description.heads, "topic": replace(description.heads["topic"], layers="mix")}
    config = description.config
    configs = {**config.heads, "topic": replace(config.heads["topic"], hidden=(16,))}
    model = checkpoint.assemble(learnt.model.encoder, heads, configs).eval()
    made = replace(description, heads=heads, config=replace(config, heads=configs))
    checkpoint.save(tmp_path, Checkpoint(model, learnt.tokenizer, made), {})
    with torch.inference_mode():
        found = checkpoint.load(tmp_path).model(IDS, MASK)["topic"]
        assert torch.equal(found, model(IDS, MASK)["topic"])


def test_the_engine_reads_as_many_tokens_as_training_did(learnt):
    prediction = learnt.engine(on_overflow="truncate")("the " * 100)
    assert (prediction.tokens, prediction.truncated) == (48, True)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "polyhead.json"])
def test_a_missing_file_is_named(copy, file):
    (copy / file).unlink()
    with pytest.raises(CheckpointError, match=file):
        checkpoint.load(copy)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "polyhead.json"])
@pytest.mark.parametrize("left", [0, 0.5], ids=["empty", "half"])
def test_a_damaged_file_is_named(copy, file, left):
    content = (copy / file).read_bytes()
    (copy / file).write_bytes(content[: int(left * len(content))])
    with pytest.raises(PolyheadError, match=file):
        checkpoint.load(copy)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        pytest.param({"version": 2}, "format version 2; this polyhead reads up to 1", id="newer"),
        pytest.param({"format": "bundle"}, "allowed: 'polyhead-checkpoint'", id="format"),
        pytest.param({"tensors": 1}, "unknown key 'tensors'", id="unknown_key"),
        pytest.param({"heads": {}}, "does not fit polyhead.json", id="no_heads"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(copy, change, part):
    file = copy / "polyhead.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=part):
        checkpoint.load(copy)


@pytest.mark.parametrize("value", [[], "x", {"format": "polyhead-checkpoint"}], ids=repr)
def test_a_description_of_another_shape_is_refused(copy, value):
    (copy / "polyhead.json").write_text(json.dumps(value))
    with pytest.raises(CheckpointError, match=r"polyhead\.json: "):
        checkpoint.load(copy)


def test_a_folder_of_something_else_is_no_checkpoint(tmp_path):
    assert not checkpoint.is_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        checkpoint.load(tmp_path)
