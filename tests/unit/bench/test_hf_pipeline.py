"""transformers pipelines as a peer: heads that have none."""

import pytest

from polyhead_bench.errors import PeerFault
from polyhead_bench.harness.process import PeerProcess
from polyhead_models import checkpoint as checkpoints

TEXTS = ["The parcel was 3 days late.", "", "Thanks, 5 stars!"]
ROWS = [
    {"text": f"parcel {n}", "topic": "ab"[n % 2], "what": [{"label": "X", "start": 0, "end": 6}]}
    for n in range(8)
]
HEADS = {
    "topic": {"kind": "classification", "data": "rows", "target": "topic"},
    "what": {"kind": "tokens", "data": "rows", "target": "what"},
    "embedding": {"kind": "embedding"},
}


@pytest.fixture(scope="module")
def checkpoint(trained, tmp_path_factory):
    """Heads for labels, spans and vectors; the last has no pipeline."""
    return trained(tmp_path_factory.mktemp("pipelines"), ROWS, HEADS, tokens=64).checkpoint


@pytest.fixture(scope="module")
def worker(checkpoint):
    with PeerProcess("hf-pipeline", checkpoint, threads=1) as worker:
        yield worker


def test_a_head_without_a_pipeline_is_told_and_the_others_answer(worker):
    assert list(worker.ready["info"]["without"]) == ["embedding"]
    alone = worker.ask("single", texts=TEXTS, answers=True)["answers"]
    schedule = worker.ready["schedules"][0]
    found = worker.ask("offline", texts=TEXTS, schedule=schedule, answers=True)["answers"]
    assert [list(answer) for answer in alone] == [["topic", "what"]] * 3
    for one, other in zip(alone, found, strict=True):
        assert one["topic"]["label"] == other["topic"]["label"]
        assert one["what"] == other["what"]


def test_special_tokens_in_a_text_are_what_the_checkpoint_reads_them_as(worker, checkpoint):
    text = f"{TEXTS[0]} [SEP] {TEXTS[1]} [CLS]"
    (found,) = worker.ask("single", texts=[text], answers=True)["answers"]
    expected = checkpoints.load(checkpoint).engine()(text)["topic"].scores
    assert found["topic"]["scores"] == pytest.approx(dict(expected), abs=1e-5)


def test_a_peer_with_no_pipeline_at_all_is_a_fault(checkpoint):
    with pytest.raises(PeerFault, match="no head has a pipeline; there are some for class"):
        PeerProcess("hf-pipeline", checkpoint, threads=1, options={"heads": ["embedding"]})
