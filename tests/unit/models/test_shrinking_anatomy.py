"""Each family on a tiny random encoder: what is taken out is as if it had been multiplied by 0."""

from contextlib import ExitStack

import pytest
import torch
from torch import nn

from polyhead_models import encoder as encoders
from polyhead_models.errors import EncoderError, ShrinkError
from polyhead_models.shrinking import anatomy
from polyhead_models.shrinking.anatomy import EncoderShape

NAMES = (
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "electra",
    "albert",
    "mpnet",
    "deberta-v2",
    "deberta-v2-conv",
    "modernbert",
    "nomic_bert",
)
DEPTH, FFN, HEADS, HEAD_WIDTH = 5, 64, 4, 8
KEPT = (0, 2, 4)
GRID = 32
"""Numbers of few bits: their products and sums are exact in float32, in whatever order."""


@pytest.fixture(scope="module")
def make(families):
    """`make(name)`: weights from a fixed seed, none of them 0 or 1 throughout."""

    def build(name):
        if name not in families:
            pytest.skip("this transformers has it not")
        key = "n_layers" if name == "distilbert" else "num_hidden_layers"
        torch.manual_seed(5)
        encoder = encoders.build({**families[name], key: DEPTH}).eval()
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter += torch.empty_like(parameter).uniform_(-0.2, 0.2)
        return encoder

    return build


@pytest.fixture(scope="module", params=NAMES)
def encoder(request, make):
    """Nobody changes it."""
    return make(request.param)


@pytest.fixture(scope="module", params=[name for name in NAMES if name != "albert"])
def layered(request, make):
    """Of a family whose layers have weights of their own; nobody changes it."""
    return make(request.param)


def states(encoder):
    tokens = torch.arange(2 * 14).reshape(2, 14) % 23 + 3
    mask = torch.ones_like(tokens)
    mask[1, 9:] = 0
    with torch.no_grad():
        found = encoder(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    return [*found.hidden_states[:-1], found.last_hidden_state]


def on_a_grid(encoder):
    """Round what every linear reads and its weights: no sum depends on its order then."""
    rounded = encoders.build(encoders.settings(encoder)).eval()
    rounded.load_state_dict(encoder.state_dict())
    for module in rounded.modules():
        if isinstance(module, nn.Linear):
            for parameter in module.parameters():
                parameter.data = (parameter.data * GRID).round() / GRID
            module.register_forward_pre_hook(lambda _, x: (x[0] * GRID).round() / GRID)
    return rounded


def skipping(encoder, skipped):
    """Hooks that let a layer give what it was given."""

    def hook(_, given, output):
        return (given[0], *output[1:]) if isinstance(output, tuple) else given[0]

    layers, open_hooks = anatomy.layers_of(encoder), ExitStack()
    for number in skipped:
        open_hooks.callback(layers[number].register_forward_hook(hook).remove)
    return open_hooks


def chosen(encoder):
    """Other neurons and heads in each kept layer, and the masks of all layers that say the same."""
    generator = torch.Generator().manual_seed(1)
    all_heads = encoder.config.model_type == "mpnet"

    def some(number, of):
        return torch.randperm(of, generator=generator)[:number].sort().values

    neurons = [some(24, FFN) for _ in KEPT]
    heads = [torch.arange(HEADS) if all_heads else some(3, HEADS) for _ in KEPT]
    masks = torch.zeros(DEPTH, FFN), torch.zeros(DEPTH, HEADS)
    for mask, kept in zip(masks, (neurons, heads), strict=True):
        for number, indices in zip(KEPT, kept, strict=True):
            mask[number, indices] = 1
    return neurons, heads, *masks


@pytest.fixture(scope="module")
def small(layered):
    neurons, heads, *_ = chosen(layered)
    return anatomy.narrowed(layered, layers=KEPT, neurons=neurons, heads=heads)


def test_to_multiply_by_0_is_to_take_out_to_the_bit(layered, small):
    *_, neurons, heads = chosen(layered)
    whole = on_a_grid(layered)
    skipped = set(range(DEPTH)) - set(KEPT)
    with skipping(whole, skipped), anatomy.masked(whole, neurons=neurons, heads=heads):
        expected = states(whole)[-1]
    assert torch.equal(states(on_a_grid(small))[-1], expected)
    assert not torch.equal(states(whole)[-1], expected)


def test_to_multiply_by_0_is_to_take_out(layered, small):
    *_, neurons, heads = chosen(layered)
    skipped = set(range(DEPTH)) - set(KEPT)
    with skipping(layered, skipped), anatomy.masked(layered, neurons=neurons, heads=heads):
        expected = states(layered)[-1]
    torch.testing.assert_close(states(small)[-1], expected, rtol=1e-5, atol=1e-5)


def test_the_first_layers_give_what_they_gave(encoder):
    whole, part = states(encoder), states(anatomy.narrowed(encoder, layers=(0, 1)))
    assert all(torch.equal(a, b) for a, b in zip(whole[:2], part[:2], strict=True))
    if encoder.config.model_type != "modernbert":  # which normalises once more at the end
        assert torch.equal(whole[2], part[2])


def test_the_settings_build_the_same_encoder(layered, small):
    built = encoders.build(encoders.settings(small)).eval()
    built.load_state_dict(small.state_dict())
    assert anatomy.shape_of(built) == anatomy.shape_of(small)
    assert all(torch.equal(a, b) for a, b in zip(states(built), states(small), strict=True))


def test_shapes(encoder):
    before = EncoderShape(layers=DEPTH, ffn=FFN, attention_heads=HEADS)
    assert anatomy.shape_of(encoder) == before
    part = anatomy.narrowed(encoder, layers=(0, 1))
    assert anatomy.shape_of(part) == EncoderShape(layers=2, ffn=FFN, attention_heads=HEADS)
    assert anatomy.shape_of(encoder) == before


def test_what_is_left_is_smaller(layered, small):
    shape = anatomy.shape_of(small)
    assert (shape.layers, shape.ffn) == (len(KEPT), 24)
    for ends in anatomy.sub_layers(small):
        assert ends.ffn_out.weight.shape == (32, 24)
        assert ends.attention_out.weight.shape == (32, shape.attention_heads * HEAD_WIDTH)
    assert all(p.is_contiguous() for p in small.state_dict().values())


def test_a_narrowed_encoder_can_be_narrowed_again(layered, small):
    last = [torch.arange(16)] * 2
    again = anatomy.narrowed(small, layers=(0, 1), neurons=last)
    at_once = anatomy.narrowed(
        layered,
        layers=KEPT[:2],
        neurons=[kept[:16] for kept in chosen(layered)[0][:2]],
        heads=chosen(layered)[1][:2],
    )
    assert all(torch.equal(a, b) for a, b in zip(states(again), states(at_once), strict=True))


def test_gradients_reach_the_masks(make):
    encoder = make("bert")
    neurons = torch.ones(DEPTH, FFN, requires_grad=True)
    heads = torch.ones(DEPTH, HEADS, requires_grad=True)
    tokens = torch.arange(12).reshape(1, 12) + 3
    with anatomy.masked(encoder, neurons=neurons, heads=heads):
        for _ in range(2):  # one backward pass a batch, the masks being the same
            encoder(input_ids=tokens).last_hidden_state.square().sum().backward()
    assert neurons.grad is not None
    assert heads.grad is not None
    assert neurons.grad.ne(0).any(1).all()
    assert heads.grad.ne(0).all()


def test_an_open_mask_closes_again(make):
    encoder = make("bert")
    before = states(encoder)
    with (
        pytest.raises(KeyError),
        anatomy.masked(encoder, neurons=torch.zeros(DEPTH, FFN)),
    ):
        raise KeyError
    assert all(torch.equal(a, b) for a, b in zip(states(encoder), before, strict=True))


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        pytest.param("bert", (6, 64, 4), r"layers = 6: this encoder has 5. Give 1 to 5", id="deep"),
        pytest.param("bert", (0, 64, 4), r"layers = 0: this encoder has 5", id="no-layer"),
        pytest.param("bert", (4, 65, 4), r"ffn = 65: this encoder has 64", id="wide"),
        pytest.param("bert", (4, 64, 0), r"attention heads = 0: this encoder has 4", id="no-head"),
        pytest.param("albert", (4, 32, 4), r"ffn = 32: .* 'albert' all its layers are one", id="a"),
        pytest.param("albert", (4, 64, 2), r"heads = 2: .* one set of weights", id="albert-heads"),
        pytest.param("mpnet", (4, 64, 2), r"heads = 2: .* table of relative positions", id="mpnet"),
    ],
)
def test_shapes_that_cannot_be(make, name, wanted, message):
    layers, ffn, heads = wanted
    with pytest.raises(ShrinkError, match=message):
        anatomy.check(make(name), EncoderShape(layers=layers, ffn=ffn, attention_heads=heads))


def test_groups_of_layers_are_not_taken_apart(families):
    groups = encoders.build({**families["albert"], "num_hidden_groups": 2})
    with pytest.raises(ShrinkError, match="2 groups of layers"):
        anatomy.narrowed(groups, layers=(0,))


@pytest.mark.parametrize("layers", [(2, 1), (1, 1), (0, 5), (-1,)], ids=str)
def test_layers_that_cannot_be_kept(make, layers):
    with pytest.raises(ShrinkError, match=r"this encoder has 5. Name some of 0 to 4, ascending"):
        anatomy.narrowed(make("bert"), layers=layers)


def test_every_layer_keeps_as_much_as_the_others(make):
    with pytest.raises(ValueError, match="equally many in every layer"):
        anatomy.narrowed(make("bert"), layers=(0, 1), heads=[torch.arange(HEADS), torch.arange(2)])


@pytest.mark.parametrize("name", ["modernbert", "deberta-v2-conv"])
def test_a_first_layer_that_is_unlike_the_others_stays(make, name):
    encoder = make(name)
    assert anatomy.needs_first(encoder)
    with pytest.raises(ShrinkError, match=r"layers 1, 2: .* Keep layer 0"):
        anatomy.narrowed(encoder, layers=(1, 2))


def test_a_layer_keeps_its_kind_of_attention(make):
    encoder, kept = make("modernbert"), (0, 3, 4)  # whole text, whole text, a window
    if not hasattr(encoder.config, "layer_types"):
        with pytest.raises(ShrinkError, match=r"layers 0, 3, 4: .* install transformers 5"):
            anatomy.narrowed(encoder, layers=kept)
        return
    part = anatomy.narrowed(encoder, layers=kept)
    with skipping(encoder, (1, 2)):
        assert torch.equal(states(encoder)[-1], states(part)[-1])


def test_other_families_may_begin_anywhere(make):
    encoder = make("bert")
    assert not anatomy.needs_first(encoder)
    first, whole = anatomy.narrowed(encoder, layers=(2,)), on_a_grid(encoder)
    with skipping(whole, (0, 1, 3, 4)):
        assert torch.equal(states(on_a_grid(first))[-1], states(whole)[-1])


def test_layers_that_are_one_have_no_masks_of_their_own(make):
    with pytest.raises(ShrinkError, match="one set of weights"):
        anatomy.sub_layers(make("albert"))


def test_other_families_are_refused():
    other = encoders.build(
        {
            "model_type": "fnet",
            "vocab_size": 40,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "intermediate_size": 16,
        }
    )
    with pytest.raises(ShrinkError, match=r"'fnet' .* Known, .* bert, roberta"):
        anatomy.shape_of(other)


@pytest.mark.parametrize("kept", [0, 5, "3"])
def test_settings_with_heads_that_cannot_be_kept(families, kept):
    with pytest.raises(EncoderError, match=f"kept_attention_heads = {kept!r}"):
        encoders.build({**families["bert"], "kept_attention_heads": kept})
