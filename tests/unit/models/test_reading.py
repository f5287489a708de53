import pytest
import torch

from polyhead_models.errors import ConfigError
from polyhead_models.heads.layers import LayerReader

DEPTH = 3


@pytest.fixture
def states():
    """Hidden states of two texts of 5 and 3 tokens, the shorter padded with large numbers."""
    random = torch.Generator().manual_seed(2)
    made = [torch.randn(2, 5, 8, generator=random) - 3 for _ in range(DEPTH)]
    for state in made:
        state[1, 3:] = 1000.0
    return made


MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_pooling_with_a_mask_equals_pooling_without_padding(states, pooling):
    reader = LayerReader("last", pooling, DEPTH)
    alone = reader([state[1:, :3] for state in states], None)
    assert torch.allclose(reader(states, MASK)[1:], alone)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("cls", [1.0, 4.0]), ("mean", [2.0, 3.0]), ("max", [3.0, 4.0])],
)
@pytest.mark.parametrize("mask", [None, torch.ones(1, 2)], ids=["no_mask", "full_mask"])
def test_pooling_by_hand(pooling, expected, mask):
    tokens = torch.tensor([[[1.0, 4.0], [3.0, 2.0]]])
    assert LayerReader("last", pooling, 1)([tokens], mask).tolist() == [expected]


def test_without_pooling_every_token_is_kept(states):
    assert LayerReader("last", None, DEPTH)(states, MASK) is states[-1]


@pytest.mark.parametrize(("layers", "index"), [("last", 2), (0, 0), (1, 1), (-1, 2), (-3, 0)])
def test_one_layer_is_read(states, layers, index):
    assert torch.equal(LayerReader(layers, None, DEPTH)(states, None), states[index])


@pytest.mark.parametrize("layers", [3, -4])
def test_an_index_outside_the_encoder_is_refused(layers):
    with pytest.raises(ConfigError, match=rf"layers: found {layers}; .*0 \(embeddings\) to 2"):
        LayerReader(layers, None, DEPTH)


def test_a_fresh_mix_is_the_mean_of_all_layers(states):
    found = LayerReader("mix", None, DEPTH)(states, None)
    assert torch.allclose(found, torch.stack(states).mean(dim=0))


def test_a_mix_is_the_scaled_softmax_weighted_sum_of_all_layers(states):
    reader = LayerReader("mix", None, DEPTH)
    with torch.no_grad():
        reader.weights.copy_(torch.tensor([0.0, 1.0, -2.0]))
        reader.scale.fill_(1.5)
    weights = torch.tensor([0.0, 1.0, -2.0]).exp()
    weights /= weights.sum()
    expected = 1.5 * (weights[0] * states[0] + weights[1] * states[1] + weights[2] * states[2])
    assert torch.allclose(reader(states, None), expected, rtol=1e-4)


def test_a_mix_learns_its_weights_and_scale(states):
    reader = LayerReader("mix", "mean", DEPTH)
    reader(states, MASK)[:, 0].sum().backward()
    assert reader.weights.grad.abs().sum() > 0
    assert reader.scale.grad.abs() > 0


@pytest.mark.parametrize(
    ("layers", "needed"), [("last", False), ("mix", True), (0, True), (-1, True)]
)
def test_whether_more_than_the_last_layer_is_needed(layers, needed):
    assert LayerReader(layers, "mean", DEPTH).needs_all is needed
