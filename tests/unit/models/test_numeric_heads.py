"""Targets, losses and scales of the heads whose targets are numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyhead.heads import HeadSpec, decoder
from polyhead_models.heads import NETWORKS

WIDTH = 8
SPECS = {
    "multilabel.v1": HeadSpec(
        kind="multilabel.v1",
        output="logits/x",
        labels=("angry", "damaged", "late"),
        pooling="mean",
        max_tokens=16,
    ),
    "regression.v1": HeadSpec(
        kind="regression.v1", output="logits/x", scale=(10.0, 4.0), pooling="mean", max_tokens=16
    ),
}
SETS, NUMBERS = NETWORKS["multilabel.v1"], NETWORKS["regression.v1"]
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture
def head():
    """A head with random weights: `head("regression.v1")`."""

    def make(kind, **changes):
        torch.manual_seed(0)
        return NETWORKS[kind](replace(SPECS[kind], **changes), width=WIDTH, depth=3).eval()

    return make


@pytest.fixture
def encoding(wordpiece):
    return wordpiece.encode(["anna"])[0]


def fitted(*references):
    return NUMBERS.fitted(replace(SPECS["regression.v1"], scale=None), references).scale


@pytest.mark.parametrize(
    ("raw", "reference"),
    [
        pytest.param(["late", "angry"], ("angry", "late"), id="in_any_order"),
        pytest.param(["late", "late"], ("late",), id="a_set"),
        pytest.param([], (), id="none"),
        pytest.param([2, True], ("2", "True"), id="as_text"),
    ],
)
def test_a_list_of_labels_is_a_reference(raw, reference):
    assert SETS.reference(raw, "") == reference


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("late", "found 'late', expected a list of labels"),
        ({"late": 1}, r"found {'late': 1}, expected a list of labels"),
        (["late", ""], "found '', expected a label"),
        ([["late"]], r"found \['late'\], expected a label"),
        ([None], "found None, expected a label"),
    ],
    ids=["text", "table", "empty_label", "nested", "null"],
)
def test_what_is_no_list_of_labels_is_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        SETS.reference(raw, "")


@pytest.mark.parametrize(
    ("raw", "reference"),
    [(3, 3.0), (-2.5, -2.5), ("4", 4.0), (" -1.5e3 ", -1500.0), (0, 0.0)],
    ids=repr,
)
def test_a_number_is_a_reference(raw, reference):
    found = NUMBERS.reference(raw, "")
    assert (found, type(found)) == (reference, float)


@pytest.mark.parametrize(
    "raw",
    [
        *(math.nan, math.inf, -math.inf, "nan", "inf", "1e999", 10**400, True, False),
        *("", "three", "3,5", [3], {}),
    ],
    ids=lambda raw: repr(raw)[:12],
)
def test_what_is_no_finite_number_is_refused(raw):
    with pytest.raises(ValueError, match="expected a finite number") as caught:
        NUMBERS.reference(raw, "")
    assert str(caught.value).startswith(f"found {raw!r}")


def test_labels_are_those_of_the_training_rows_in_order():
    spec = replace(SPECS["multilabel.v1"], labels=())
    found = SETS.fitted(spec, [("b", "c"), (), ("a", "b")])
    assert found == replace(spec, labels=("a", "b", "c"))


def test_rows_without_any_label_are_refused():
    with pytest.raises(ValueError, match="no training row has a label"):
        SETS.fitted(replace(SPECS["multilabel.v1"], labels=()), [(), ()])


def test_a_set_without_the_labels_that_training_did_not_see():
    assert SETS.seen(("angry", "lat"), {"angry", "late"}) == ("angry",)


def test_a_scale_is_mean_and_deviation_of_the_training_rows():
    assert fitted(2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0) == pytest.approx((5.0, 2.0))


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e300])
def test_equal_targets_keep_their_unit(value):
    assert fitted(value, value, value) == pytest.approx((value, 1.0))


@given(st.lists(FINITE, min_size=1, max_size=9))
def test_any_finite_targets_have_a_scale(values):
    offset, factor = fitted(*values)
    assert min(values) - abs(offset) * 1e-12 <= offset <= max(values) + abs(offset) * 1e-12
    assert 0 < factor < math.inf


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30).filter(lambda v: np.std(v) > 1e-3))
def test_scaled_targets_have_mean_0_and_deviation_1(values):
    offset, factor = fitted(*values)
    scaled = (np.array(values) - offset) / factor
    assert scaled.mean() == pytest.approx(0, abs=1e-6)
    assert scaled.std() == pytest.approx(1, abs=1e-6)


def test_the_target_of_a_set_has_a_1_for_each_of_its_labels(head, encoding):
    target = head("multilabel.v1").target(("angry", "late"), encoding)
    assert (target.tolist(), target.dtype) == ([1.0, 0.0, 1.0], torch.float32)
    assert head("multilabel.v1").target((), encoding).tolist() == [0.0, 0.0, 0.0]


def test_the_target_of_a_number_is_on_the_heads_scale(head, encoding):
    target = head("regression.v1").target(4.0, encoding)
    assert (target.tolist(), target.dtype) == ([-1.5], torch.float32)


@given(number=st.floats(-1e4, 1e4))
def test_the_decoder_undoes_the_scale_of_the_target(wordpiece, number):
    network = NUMBERS(SPECS["regression.v1"], width=WIDTH, depth=3)
    logit = network.target(number, None).numpy()
    found = decoder("x", network.spec).decode(logit, wordpiece.encode(["late"])[0]).value
    assert found == pytest.approx(number, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("kind", SPECS)
def test_a_batch_has_a_row_of_numbers_a_text_and_nan_for_what_is_missing(head, kind):
    network = head(kind)
    known = torch.arange(network.count, dtype=torch.float32)
    found = network.collate([known, None], tokens=7)
    assert (found.shape, found.dtype) == ((2, network.count), torch.float32)
    assert torch.equal(found[0], known)
    assert found[1].isnan().all()


def test_the_loss_of_a_set_is_the_binary_cross_entropy_of_all_labels(head):
    logits = torch.tensor([[2.0, -1.0, 0.5], [9.0, 9.0, 9.0], [0.0, 3.0, -2.0]])
    wanted = torch.tensor([[1.0, 0.0, 0.0], [math.nan] * 3, [0.0, 1.0, 1.0]])
    p = (1 / (1 + torch.exp(-logits[[0, 2]]))).tolist()
    terms = [
        -math.log(x if y else 1 - x)
        for row, answers in zip(p, wanted[[0, 2]].tolist(), strict=True)
        for x, y in zip(row, answers, strict=True)
    ]
    found = head("multilabel.v1").loss(logits, wanted)
    assert found.item() == pytest.approx(sum(terms) / 2, rel=1e-5)


def test_the_loss_of_a_number_is_the_mean_squared_error_on_its_scale(head):
    logits, wanted = torch.tensor([[1.0], [7.0], [-2.0]]), torch.tensor([[3.0], [math.nan], [-1.0]])
    assert head("regression.v1").loss(logits, wanted).item() == pytest.approx((4 + 1) / 2)


@pytest.mark.parametrize("kind", SPECS)
def test_the_loss_of_bf16_logits_is_computed_in_float32(head, kind):
    network = head(kind)
    logits, wanted = torch.full((2, network.count), 0.3), torch.ones((2, network.count))
    found = network.loss(logits.to(torch.bfloat16), wanted)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(network.loss(logits, wanted).item(), rel=1e-2)


@pytest.mark.parametrize("kind", SPECS)
def test_missing_targets_have_no_gradient(head, kind):
    network = head(kind)
    logits = torch.zeros((2, network.count), requires_grad=True)
    known = torch.ones(network.count)
    network.loss(logits, network.collate([known, None], tokens=4)).backward()
    assert (logits.grad[0] != 0).all()
    assert (logits.grad[1] == 0).all()


@pytest.mark.parametrize("kind", SPECS)
def test_a_batch_without_targets_costs_nothing_and_still_has_a_gradient(head, kind):
    network = head(kind)
    logits = torch.ones((2, network.count), requires_grad=True)
    loss = network.loss(logits, network.collate([None, None], tokens=4))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(("kind", "count"), [("multilabel.v1", 3), ("regression.v1", 1)])
def test_the_shape_of_logits(head, kind, count):
    assert head(kind)([torch.randn(2, 4, WIDTH)], None).shape == (2, count)
