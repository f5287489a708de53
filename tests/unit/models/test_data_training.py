"""Training over a source that is no jsonl, with splits by share."""

import pytest

from polyhead_models import checkpoint, config
from polyhead_models.errors import CheckpointError
from polyhead_models.training import train


@pytest.fixture
def configured(write_config, tmp_path):
    """Tagged words in parallel files, a tenth for validation, labels as numbers of names."""
    people = ("anna", "oslo", "thanks")
    (tmp_path / "tagged").mkdir()
    for name, line in {
        "words": lambda n: f"the {people[n % 3]} is late",
        "tags": lambda n: "O S-NAME O O",
        "topic": lambda n: str(n % 2),
    }.items():
        (tmp_path / "tagged" / name).write_text("".join(f"{line(n)}\n" for n in range(20)))
    (tmp_path / "topics.txt").write_text("home\npraise\n")
    source = {
        "format": "parallel",
        "train": "tagged",
        "columns": ["words", "tags", "topic"],
        "lists": {"words": " ", "tags": " "},
        "names": {"topic": "topics.txt"},
        "validation_share": 0.1,
    }
    heads = {
        "topic": {"data": "tagged", "text": "words"},
        "entities": {"data": "tagged", "text": "words", "target": "tags"},
    }
    data = {"messages": None, "tagged": source}
    return config.load(write_config(tmp_path, data=data, heads=heads, training={"epochs": 1}))


def test_a_checkpoint_remembers_how_its_rows_were_read(configured, tmp_path):
    done = train(configured, tmp_path / "checkpoint")
    description = checkpoint.describe(done.path)
    assert description.asked == configured
    assert list(description.data) == ["tagged.train"]
    assert description.heads["topic"].labels == ("home", "praise")
    assert description.heads["entities"].labels == ("NAME",)
    assert done.metrics["examples"] == 18
    assert done.metrics["validation"]["topic"]["texts"] == 2
    assert train(configured, tmp_path / "checkpoint", resume=True).reused


@pytest.mark.parametrize("name", ["tagged/tags", "topics.txt"])
def test_a_checkpoint_of_other_files_is_not_kept(configured, tmp_path, name):
    train(configured, tmp_path / "checkpoint")
    file = tmp_path / name
    file.write_text(file.read_text().replace("S-NAME", "B-NAME").replace("home", "hall"))
    with pytest.raises(CheckpointError, match="was trained with other settings or data"):
        train(configured, tmp_path / "checkpoint", resume=True)
