from dataclasses import replace

import pytest
import torch
from torch import nn

from polyhead.heads import HeadSpec
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.base import IGNORED

WIDTH, DEPTH = 8, 3
TAGS = ("O", "B-PERSON", "I-PERSON", "B-PLACE", "I-PLACE")
LABELS = {"classification.v1": ("a", "b", "c"), "tokens.v1": ("PERSON", "PLACE")}


@pytest.fixture
def head():
    """A head with random weights: `head("classification.v1", hidden=[16])`."""

    def make(kind="classification.v1", *, hidden=(), **changes):
        torch.manual_seed(0)
        network = NETWORKS[kind]
        fields = {"labels": LABELS.get(kind, ()), "pooling": network.default_pooling, **changes}
        spec = HeadSpec(kind=kind, output="logits/x", max_tokens=16, **fields)
        return network(spec, width=WIDTH, depth=DEPTH, hidden=hidden).eval()

    return make


def targets(network, encoding, *reference):
    """The tag of every token; None for what the loss ignores."""
    ids = network.target(reference, encoding).tolist()
    return [None if index == IGNORED else TAGS[index] for index in ids]


def test_the_first_piece_of_a_span_begins_it_and_the_others_are_inside(head, wordpiece):
    (encoding,) = wordpiece.encode(["lately in Oslo"])
    assert [encoding.text[a:b] for a, b in encoding.offsets.tolist()] == [
        *("", "late", "ly", "in", "Oslo", "")
    ]
    found = targets(head("tokens.v1"), encoding, ("PERSON", 0, 6), ("PLACE", 10, 14))
    assert found == [None, "B-PERSON", "I-PERSON", "O", "B-PLACE", None]


def test_a_span_over_words_holds_all_their_tokens(head, wordpiece):
    (encoding,) = wordpiece.encode(["the parcel was late"])
    found = targets(head("tokens.v1"), encoding, ("PLACE", 4, 14))
    assert found == [None, "O", "B-PLACE", "I-PLACE", "O", None]


def test_what_touches_a_span_is_outside(head, wordpiece):
    (encoding,) = wordpiece.encode(["(anna)"])
    found = targets(head("tokens.v1"), encoding, ("PERSON", 1, 5))
    assert found == [None, "O", "B-PERSON", "O", None]


def test_neighbouring_spans_of_one_label_stay_apart(head, wordpiece):
    (encoding,) = wordpiece.encode(["anna oslo"])
    found = targets(head("tokens.v1"), encoding, ("PLACE", 0, 4), ("PLACE", 5, 9))
    assert found == [None, "B-PLACE", "B-PLACE", None]


def test_a_token_that_shares_one_character_with_a_span_belongs_to_it(head, wordpiece):
    (encoding,) = wordpiece.encode(["the parcel was"])
    found = targets(head("tokens.v1"), encoding, ("PLACE", 9, 12))
    assert found == [None, "O", "B-PLACE", "I-PLACE", None]


def test_every_byte_of_a_character_is_in_its_span(head, byte_bpe):
    (encoding,) = byte_bpe.encode(["a 東"])
    found = targets(head("tokens.v1"), encoding, ("PLACE", 2, 3))
    assert found == [None, "O", "O", "B-PLACE", "I-PLACE", "I-PLACE", None]


def test_a_text_without_spans_is_outside(head, wordpiece):
    (encoding,) = wordpiece.encode(["anna lives"])
    assert targets(head("tokens.v1"), encoding) == [None, "O", "O", None]


def test_special_tokens_are_ignored_whatever_the_span_covers(head, wordpiece):
    (encoding,) = wordpiece.encode(["anna"])
    assert targets(head("tokens.v1"), encoding, ("PERSON", 0, 4)) == [None, "B-PERSON", None]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        pytest.param(5, [None, "O", "B-PLACE", "I-PLACE", None], id="part"),
        pytest.param(3, [None, "O", None], id="whole"),
    ],
)
def test_a_span_that_truncation_cuts_keeps_what_is_left(head, wordpiece, tokens, expected):
    (encoding,) = wordpiece.encode(["the parcel was late"])
    found = targets(head("tokens.v1"), encoding.cut(tokens), ("PLACE", 4, 19))
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "references", "labels"),
    [
        pytest.param("classification.v1", ["b", "a", "b"], ("a", "b"), id="classification"),
        pytest.param(
            "tokens.v1",
            [(("PLACE", 0, 1), ("DAY", 1, 2)), (), (("PLACE", 0, 1),)],
            ("DAY", "PLACE"),
            id="tokens",
        ),
        pytest.param("embedding.v1", [], (), id="embedding"),
    ],
)
def test_labels_are_those_of_the_training_references_in_order(kind, references, labels):
    spec = HeadSpec(kind=kind, output="logits/x", max_tokens=16)
    assert NETWORKS[kind].fitted(spec, references) == replace(spec, labels=labels)


def test_the_target_of_a_label_is_its_index(head, wordpiece):
    (encoding,) = wordpiece.encode(["anna"])
    target = head().target("c", encoding)
    assert (target.shape, target.dtype, target.item()) == ((), torch.int64, 2)


def test_a_batch_of_labels_has_one_target_a_row(head):
    found = head().collate([torch.tensor(2), None, torch.tensor(0)], tokens=7)
    assert found.tolist() == [2, IGNORED, 0]


def test_a_batch_of_tags_is_padded_with_ignored_targets(head):
    found = head("tokens.v1").collate([torch.tensor([IGNORED, 1]), None], tokens=3)
    assert found.tolist() == [[IGNORED, 1, IGNORED], [IGNORED] * 3]


@pytest.mark.parametrize(
    ("kind", "shape"), [("classification.v1", (4,)), ("tokens.v1", (4, 6))], ids=["text", "token"]
)
def test_the_loss_is_the_mean_cross_entropy_of_the_targets(head, kind, shape):
    random = torch.Generator().manual_seed(1)
    logits = torch.randn((*shape, 3), generator=random)
    wanted = torch.randint(0, 3, shape, generator=random)
    wanted[1] = IGNORED
    logs = torch.log_softmax(logits, dim=-1)
    counted = [
        -logs[(*place, wanted[tuple(place)])] for place in (wanted != IGNORED).nonzero().tolist()
    ]
    found = head(kind).loss(logits, wanted)
    assert found.item() == pytest.approx(torch.stack(counted).mean().item(), rel=1e-5)


@pytest.mark.parametrize("shape", [(2,), (2, 5)], ids=["text", "token"])
def test_a_batch_without_targets_costs_nothing_and_still_has_a_gradient(head, shape):
    logits = torch.ones((*shape, 3), requires_grad=True)
    loss = head().loss(logits, torch.full(shape, IGNORED))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_hidden_widths_make_a_perceptron(head):
    network = head(hidden=[16], pooling="cls")
    first, last = (m for m in network.projection if isinstance(m, nn.Linear))
    states = [torch.randn(2, 4, WIDTH)] * DEPTH
    expected = last(nn.functional.gelu(first(states[-1][:, 0])))
    assert first.weight.shape == (16, WIDTH)
    assert torch.allclose(network(states, None), expected)


def test_a_head_without_hidden_widths_is_linear(head):
    network = head(pooling="cls")
    one, two = torch.randn(2, 1, 4, WIDTH)
    zero = network([torch.zeros(1, 4, WIDTH)], None)
    total = network([one + two], None) - zero
    parts = network([one], None) + network([two], None) - 2 * zero
    assert torch.allclose(total, parts, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("classification.v1", (2, 3)),
        ("tokens.v1", (2, 4, 5)),
        ("embedding.v1", (2, WIDTH)),
    ],
)
def test_the_shape_of_logits(head, kind, shape):
    assert head(kind)([torch.randn(2, 4, WIDTH)], None).shape == shape


def test_an_embedding_head_has_no_weights(head):
    assert list(head("embedding.v1").parameters()) == []


def test_an_embedding_head_is_the_pooled_vector(head):
    states = torch.randn(2, 4, WIDTH)
    assert torch.equal(head("embedding.v1", pooling="cls")([states], None), states[:, 0])
