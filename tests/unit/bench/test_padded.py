import numpy as np
import pytest

from polyhead_bench import environments
from polyhead_bench.errors import PeerFault
from polyhead_bench.peers import padded


@pytest.mark.parametrize("schedule", padded.SCHEDULES)
def test_every_text_is_in_one_batch(schedule):
    found = padded.batches([7, 3, 9] * 20, schedule)
    assert sorted(i for batch in found for i in batch) == list(range(60))


def test_no_text_gives_no_batch():
    assert padded.batches([], "batch 32, sorted") == []


def test_padding_is_masked():
    found = padded.feeds([np.array([5, 6]), np.array([7])])
    assert found["input_ids"].tolist() == [[5, 6], [7, 0]]
    assert found["attention_mask"].tolist() == [[1, 1], [1, 0]]


def test_a_graph_without_a_mask_gets_one_text_per_call(wordpiece):
    def peer(inputs):
        workers = lambda: []  # noqa: E731
        return padded.PaddedPeer(print, inputs, {}, wordpiece, 8, info={}, workers=workers)

    assert peer(["input_ids"]).schedules == (
        "one per call",
        "one per call, workers of one thread",
    )
    assert len(peer(["input_ids", "attention_mask"]).schedules) == 7


def test_an_environment_without_pins_or_not_set_up_is_told(tmp_path):
    with pytest.raises(PeerFault, match="expected the pinned packages of 'x'"):
        environments.install(tmp_path, "x")
    with pytest.raises(PeerFault, match="polyhead bench setup"):
        environments.python(tmp_path, "x")
