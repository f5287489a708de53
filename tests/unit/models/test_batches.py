from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from polyhead_models.data.batches import TokenBudgetBatches
from polyhead_models.errors import DataError

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=60)
NEAR_THE_BUDGET = st.lists(st.integers(80, 110), min_size=30, max_size=60)
BUDGET = st.integers(1, 500)
# One row holds more than its share of tokens, the rows after it less.
CROWDED = [96, 86, 99, 94, 91, 92, 97, 92, 100, 88, 99, 94, 90, 103, 106, 86, 104, 104, 94, 104]
CROWDED += [94, 91, 99, 102, 89, 88, 98, 91, 99, 87, 100, 95, 100, 101, 108, 94, 97]
SEED_OF_CROWDED = 110


def batches_of(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return list(sampler)


@given(LENGTHS | NEAR_THE_BUDGET, BUDGET, st.integers(0, 3))
def test_an_epoch_has_every_row_once(lengths, budget, epoch):
    sampler = TokenBudgetBatches(lengths, [""] * len(lengths), batch_tokens=budget)
    rows = [row for batch in batches_of(sampler, epoch) for row in batch]
    assert sorted(rows) == list(range(len(lengths)))


@given(LENGTHS, BUDGET, st.sampled_from(["proportional", "temperature", "uniform"]), st.data())
def test_every_epoch_has_as_many_batches_as_announced(lengths, budget, sampling, data):
    names = st.lists(st.sampled_from("abc"), min_size=len(lengths), max_size=len(lengths))
    sampler = TokenBudgetBatches(lengths, data.draw(names), batch_tokens=budget, sampling=sampling)
    assert {len(batches_of(sampler, epoch)) for epoch in range(4)} == {len(sampler)}


@given(LENGTHS | NEAR_THE_BUDGET, BUDGET, st.integers(0, 10_000))
@example(lengths=[7], budget=1, seed=0).via("one row")
@example(lengths=[5] * 9, budget=7, seed=0).via("all alike")
@example(lengths=[1] * 9 + [500], budget=50, seed=0).via("one huge row")
@example(lengths=[500], budget=1, seed=0).via("one row above the budget")
@example(lengths=CROWDED, budget=110, seed=SEED_OF_CROWDED).via("a crowded share")
def test_no_batch_is_empty(lengths, budget, seed):
    sampler = TokenBudgetBatches(lengths, [""] * len(lengths), batch_tokens=budget, seed=seed)
    for epoch in range(2):
        assert all(batches_of(sampler, epoch))


@pytest.mark.parametrize("sampling", ["proportional", "temperature", "uniform"])
def test_a_seed_and_an_epoch_give_the_same_batches_again(sampling):
    lengths, sources = list(range(1, 40)), ["a"] * 30 + ["b"] * 9
    one, two = (
        TokenBudgetBatches(lengths, sources, batch_tokens=50, sampling=sampling, seed=3)
        for _ in range(2)
    )
    list(two)
    assert batches_of(one, 5) == batches_of(two, 5)


@pytest.mark.parametrize(("seed", "epoch"), [(3, 6), (4, 5)], ids=["another_epoch", "another_seed"])
def test_the_order_changes_with(seed, epoch):
    lengths = list(range(1, 40))
    one = TokenBudgetBatches(lengths, [""] * 39, batch_tokens=50, seed=3)
    two = TokenBudgetBatches(lengths, [""] * 39, batch_tokens=50, seed=seed)
    assert batches_of(one, 5) != batches_of(two, epoch)


@given(st.lists(st.integers(3, 30), min_size=300, max_size=400), st.integers(200, 600))
def test_a_batch_holds_about_its_budget_of_tokens(lengths, budget):
    sampler = TokenBudgetBatches(lengths, [""] * len(lengths), batch_tokens=budget)
    share = sum(lengths) / len(sampler)
    assert budget / 2 < share <= budget
    for batch in batches_of(sampler):
        assert abs(sum(lengths[row] for row in batch) - share) <= 2 * 30


@given(LENGTHS | NEAR_THE_BUDGET, BUDGET, st.integers(1, 5), st.integers(0, 3))
@example(lengths=[7], budget=1, processes=1, epoch=0).via("one row")
@example(lengths=[7, 300], budget=500, processes=2, epoch=0).via("a row each")
@example(lengths=[5] * 9, budget=1, processes=2, epoch=0).via("an odd row")
def test_processes_share_the_rows_of_an_epoch(lengths, budget, processes, epoch):
    assume(len(lengths) >= processes)
    shares = [
        TokenBudgetBatches(
            lengths,
            [""] * len(lengths),
            batch_tokens=budget,
            process=process,
            processes=processes,
        )
        for process in range(processes)
    ]
    found = [batches_of(share, epoch) for share in shares]
    assert {len(batches) for batches in found} == {len(shares[0])}
    assert all(batch for batches in found for batch in batches)
    rows = [row for batches in found for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(lengths)))


def test_fewer_rows_than_processes_are_refused():
    with pytest.raises(DataError, match="2 training rows for 3 processes"):
        TokenBudgetBatches([5, 5], ["", ""], batch_tokens=9, processes=3)


def test_texts_of_similar_length_share_a_batch():
    lengths = [3 + row % 98 for row in range(1000)]
    sampler = TokenBudgetBatches(lengths, [""] * 1000, batch_tokens=500)
    padded = sum(len(batch) * max(lengths[r] for r in batch) for batch in batches_of(sampler))
    assert padded < 1.25 * sum(lengths)


def test_long_and_short_batches_alternate():
    lengths = list(range(1, 101))
    sampler = TokenBudgetBatches(lengths, [""] * 100, batch_tokens=200)
    means = [sum(lengths[r] for r in batch) / len(batch) for batch in batches_of(sampler)]
    assert means != sorted(means)


@pytest.mark.parametrize(
    ("sampling", "temperature", "share"),
    [
        pytest.param("proportional", 2.0, 900 / 1000, id="proportional"),
        pytest.param("temperature", 1.0, 900 / 1000, id="temperature_1"),
        pytest.param("temperature", 2.0, 30 / 40, id="temperature_2"),
        pytest.param("uniform", 2.0, 1 / 2, id="uniform"),
    ],
)
def test_sampling_sets_the_share_of_a_source(sampling, temperature, share):
    sources = ["large"] * 900 + ["small"] * 100
    sampler = TokenBudgetBatches(
        [5] * 1000, sources, batch_tokens=100, sampling=sampling, temperature=temperature
    )
    drawn = Counter(
        sources[row] for epoch in range(20) for batch in batches_of(sampler, epoch) for row in batch
    )
    assert drawn.total() == 20_000
    assert drawn["large"] / 20_000 == pytest.approx(share, abs=0.015)


def test_rows_of_a_source_are_drawn_alike():
    sources = ["large"] * 8 + ["small"] * 2
    sampler = TokenBudgetBatches([5] * 10, sources, batch_tokens=20, sampling="uniform")
    drawn = Counter(r for epoch in range(2000) for b in batches_of(sampler, epoch) for r in b)
    for row in range(10):
        assert drawn[row] / 20_000 == pytest.approx(1 / 16 if row < 8 else 1 / 4, abs=0.01)


@pytest.mark.parametrize("sampling", ["proportional", "temperature", "uniform"])
@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_batch_usually_has_is_the_mean_over_many(sampling, processes):
    lengths, sources = [*range(1, 31)] * 2, ["a"] * 48 + ["b"] * 12
    counts = np.array([0] * 48 + [1, 2] * 6)
    sampler = TokenBudgetBatches(
        lengths, sources, batch_tokens=100, sampling=sampling, processes=processes
    )
    found = [counts[batch].sum() for epoch in range(200) for batch in batches_of(sampler, epoch)]
    assert np.mean(found) == pytest.approx(sampler.usual(counts), rel=0.05)


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_seen_are_those_of_the_batches_of_all_processes(processes):
    lengths, which = list(range(1, 40)), np.arange(39) % 5 == 0
    samplers = [
        TokenBudgetBatches(
            lengths, ["a"] * 39, batch_tokens=50, process=process, processes=processes
        )
        for process in range(processes)
    ]
    steps = [
        sum(which[batch].sum() for batch in together)
        for epoch in range(3)
        for together in zip(*(batches_of(sampler, epoch) for sampler in samplers), strict=True)
    ]
    expected = (3 * which.sum(), sum(rows > 0 for rows in steps))
    assert samplers[0].seen(which, epochs=3) == expected
