"""transformers pipelines as a peer: heads that have none."""

import json

import pytest

from polyhead_bench.errors import PeerFault
from polyhead_bench.harness.process import Worker
from polyhead_models.config import Config, DataConfig, EncoderConfig, HeadConfig, TrainingConfig
from polyhead_models.training import train

TEXTS = ["The parcel was 3 days late.", "", "Thanks, 5 stars!"]


@pytest.fixture(scope="module")
def checkpoint(models, tmp_path_factory):
    """Heads for labels, spans and vectors; the last has no pipeline."""
    folder = tmp_path_factory.mktemp("pipelines")
    rows = [
        {
            "text": f"parcel {n}",
            "topic": "ab"[n % 2],
            "what": [{"label": "X", "start": 0, "end": 6}],
        }
        for n in range(8)
    ]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    encoder = models.checkpoint.parent / "encoder"
    config = Config(
        encoder=EncoderConfig(name=str(encoder), max_tokens=64),
        data={"mail": DataConfig(train=str(folder / "rows.jsonl"))},
        heads={
            "topic": HeadConfig(kind="classification", data="mail", target="topic"),
            "what": HeadConfig(kind="tokens", data="mail", target="what"),
            "embedding": HeadConfig(kind="embedding"),
        },
        training=TrainingConfig(epochs=1, batch_tokens=64, precision="fp32"),
    )
    return train(config, folder / "checkpoint", note=lambda _: None).path


def test_a_head_without_a_pipeline_is_told_and_the_others_answer(checkpoint):
    with Worker("hf-pipeline", checkpoint, threads=1) as worker:
        assert list(worker.ready["info"]["without"]) == ["embedding"]
        alone = worker.ask("single", texts=TEXTS, answers=True)["answers"]
        schedule = worker.ready["schedules"][0]
        found = worker.ask("offline", texts=TEXTS, schedule=schedule, answers=True)["answers"]
    assert [list(answer) for answer in alone] == [["topic", "what"]] * 3
    for one, other in zip(alone, found, strict=True):
        assert one["topic"]["label"] == other["topic"]["label"]
        assert one["what"] == other["what"]


def test_a_peer_with_no_pipeline_at_all_is_a_fault(checkpoint):
    with pytest.raises(PeerFault, match="no head has a pipeline; there are some for class"):
        Worker("hf-pipeline", checkpoint, threads=1, options={"heads": ["embedding"]})
