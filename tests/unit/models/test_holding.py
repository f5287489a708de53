"""Heads that give vectors stay near the untouched encoder's, and no epoch that spoils them wins."""

import json
import math
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.errors import ConfigError
from polyhead_models.evaluation import HeadFigures
from polyhead_models.heads import NETWORKS
from polyhead_models.training import holding, train
from polyhead_models.training.rows import Collator, training_rows
from polyhead_models.training.run import prepare

DRIFT = {"epochs": 12, "learning_rate": 6e-3}
NEAR, FAR = 0.8, 0.5


def untouched(made):
    """What the configuration begins with."""
    return prepare(made, {"data": {}}, examples.load(made, "train"))


def cosines(first, second, texts):
    """Of two checkpoints' vectors, float32 `(texts,)`."""
    both = [c.engine().predict(texts, heads=["embedding"]) for c in (first, second)]
    sides = [np.stack([answer["embedding"].vector for answer in side]) for side in both]
    return (sides[0] * sides[1]).sum(axis=1)


def agreement(made, done):
    """On the test texts, with what the configuration begins with."""
    texts = [example.text for example in examples.load(made, "test")]
    return float(cosines(checkpoint.load(done.path), untouched(made), texts).mean())


def test_a_head_that_learns_nothing_stays_where_it_was(write_config, tmp_path):
    made = config.load(write_config(tmp_path, training=DRIFT))
    done = train(made, tmp_path / "checkpoint")
    assert agreement(made, done) > NEAR
    assert done.metrics["agreement"]["embedding"] > NEAR
    assert done.metrics["history"][-1]["agreement"]["embedding"] > NEAR


def test_without_the_hold_it_drifts_and_that_is_shown(write_config, tmp_path, notes):
    heads = {"embedding": {"hold": 0.0}}
    made = config.load(write_config(tmp_path, heads=heads, training=DRIFT))
    done = train(made, tmp_path / "checkpoint")
    assert agreement(made, done) < FAR
    assert done.metrics["agreement"]["embedding"] < FAR
    shown = done.metrics["history"][-1]["agreement"]["embedding"]
    (line,) = [line for line in notes() if line.startswith("epoch 12: ")]
    assert line.endswith(f"embedding agreement {shown:.4f}")
    train(made, tmp_path / "checkpoint", more_epochs=1)  # with the encoder, not with `done`
    line = [line for line in notes() if line.startswith("epoch 1: ")][-1]
    assert float(line.rpartition(" ")[2]) < FAR


@pytest.fixture
def spoiled(write_config, write_rows, tmp_path):
    """Trains a head whose pairs the untouched encoder ranks right, and the others drag away."""

    def run(rate):
        made = config.load(write_config(tmp_path))
        engine = untouched(made).engine()
        for split in ("train", "validation"):
            texts = [example.text for example in examples.load(made, split)]
            vectors = [answer["embedding"].vector for answer in engine.predict(texts)]
            near = [a @ b for a, b in pairwise(vectors)]
            ranks = np.argsort(np.argsort(near)) / len(near)
            rows = [
                {"one": a, "two": b, "score": float(rank)}
                for (a, b), rank in zip(pairwise(texts), ranks, strict=True)
            ]
            write_rows(tmp_path / "data" / f"pairs-{split}.jsonl", rows)
        head = {"data": "pairs", "text": ["one", "two"], "target": "score"}
        path = write_config(
            tmp_path,
            data={"pairs": {s: f"data/pairs-{s}.jsonl" for s in ("train", "validation")}},
            heads={"embedding": {**head, "hold": 0.0, "loss_weight": 0.0}},
            training={"epochs": 8, "learning_rate": rate},
        )
        metrics = train(config.load(path), tmp_path / "checkpoint").metrics
        epochs = {entry["epoch"]: entry for entry in metrics["history"]}
        rankings = {n: e["validation"]["embedding"]["value"] for n, e in epochs.items()}
        assert metrics["untouched"]["embedding"]["value"] == pytest.approx(1.0)
        assert metrics["validation"]["embedding"]["value"] == rankings[metrics["best_epoch"]]
        return metrics["best_epoch"], rankings, {n: e["mean"] for n, e in epochs.items()}

    return run


def test_an_epoch_that_is_worse_than_untouched_does_not_win(spoiled, notes):
    kept, rankings, means = spoiled(2e-3)
    good = [epoch for epoch, ranking in rankings.items() if ranking > 0.99]
    assert kept == max(good, key=means.get) != max(means, key=means.get)
    assert any("embedding ranking 1.0000 (untouched 1.0000)" in line for line in notes())
    said = [line for line in notes() if "embedding is worse than untouched: ranking" in line]
    assert [int(line.split()[1].rstrip(":")) for line in said] == [
        epoch for epoch in rankings if epoch not in good
    ]


def test_epochs_that_are_added_do_not_win_either_where_they_spoil_it(spoiled, tmp_path, notes):
    spoiled(3e-3)
    made, target = config.load(tmp_path / "config.toml"), tmp_path / "checkpoint"
    before = checkpoint.metrics(target)
    after = train(made, target, more_epochs=4).metrics
    assert after == before
    assert any("no epoch was better than before" in note for note in notes())


def test_of_epochs_that_are_all_worse_the_nearest_is_kept(spoiled, notes):
    kept, rankings, means = spoiled(1e-2)
    assert max(rankings.values()) < 0.99
    assert kept == max(rankings, key=rankings.get) != max(means, key=means.get)
    told = f"every epoch is worse than untouched for embedding; epoch {kept}, the nearest, is kept"
    assert any(line.startswith(told) for line in notes())


def test_the_figure_of_noise_is_no_loss():
    before = holding.Untouched(figures={"it": figure(0.8)})
    assert before.lost({"it": figure(0.797)}) == {}
    assert before.lost({"it": figure(0.79)}) == {"it": pytest.approx(0.01)}


def figure(value):
    return HeadFigures(metric="ranking", value=value, figures={}, texts=9, windowed=0)


def test_the_term_is_1_minus_the_cosine():
    spec = HeadSpec(kind="embedding.v1", output="x", pooling="mean", max_tokens=16)
    network = NETWORKS["embedding.v1"](spec, width=2, depth=1)
    nothing = [math.nan, math.nan]
    said = torch.tensor([[2.0, 0.0], nothing, [0.0, 0.5]])
    own = torch.tensor([[3.0, 0.0], [1.0, 9.0], [1.0, 1.0]])
    assert network.distil(own, said, 1.0).item() == pytest.approx((0 + 1 - 0.5**0.5) / 2)
    assert network.distil(own, torch.tensor([nothing] * 3), 1.0).item() == 0.0


HELD = ["embedding", "search"]


@pytest.fixture
def begun(write_config, write_rows, tmp_path):
    """A model with a head that reads pairs, its rows, and how they are collated."""
    data = tmp_path / "data"
    write_rows(data / "twins.jsonl", [{"one": f"anna {n}", "two": "oslo"} for n in range(3)])
    write_rows(data / "two.jsonl", [{"one": "late", "two": "oslo", "yes": n} for n in range(3)])
    text = ["one", "two"]
    path = write_config(
        tmp_path,
        data={"twins": {"train": "data/twins.jsonl"}, "two": {"train": "data/two.jsonl"}},
        heads={
            "embedding": {"data": "twins", "text": text},
            "match": {"kind": "classification", "data": "two", "text": text, "target": "yes"},
            "search": {"kind": "embedding", "pooling": "max"},
        },
    )
    made = config.load(path)
    found = untouched(made)
    rows = training_rows(found, examples.load(made, "train"))
    return found, rows, Collator(found.model, list(made.heads), HELD)


def test_a_head_is_held_on_lone_texts_that_others_learn_from(begun):
    found, rows, collate = begun
    held = holding.with_vectors(found.model, rows, HELD, collate)
    assert [row.ids.tolist() for row in held] == [row.ids.tolist() for row in rows]
    expected = {"messages": {*HELD}, "twins": {"search"}, "two": set()}
    for row in held:
        assert {frozenset(text.teachers) for text in row.all} == {frozenset(expected[row.source])}
    twin = next(row for row in held if row.twin is not None)
    vectors = found.engine().logits(["anna 0", "oslo"], heads=["search"])["search"]
    for text, vector in zip(twin.all, vectors, strict=True):
        assert text.teachers["search"].numpy() == pytest.approx(vector, abs=2e-3)


def test_of_many_rows_some_are_held(begun, monkeypatch):
    found, rows, collate = begun
    monkeypatch.setattr(holding, "_MOST", 10)
    held = holding.with_vectors(found.model, rows, HELD, collate)
    count = sum(bool(row.teachers) for row in held)
    assert 5 <= count <= 10 < len(rows)


@pytest.mark.parametrize(
    ("changes", "weights"),
    [({}, {"embedding": 5.0}), ({"training": {"freeze": "encoder"}}, {})],
    ids=["free", "frozen"],
)
def test_a_frozen_encoder_needs_no_hold(write_config, tmp_path, changes, weights):
    assert holding.held(config.load(write_config(tmp_path, **changes))) == weights


def test_only_vectors_are_held(write_config, tmp_path):
    with pytest.raises(ConfigError, match="hold: a head of kind 'classification' has no such key"):
        config.load(write_config(tmp_path, heads={"topic": {"hold": 2.0}}))


def test_checkpoints_of_older_versions_say_nothing_of_it(trained, tmp_path):
    old = shutil.copytree(trained, tmp_path / "old")
    file = old / checkpoint.DESCRIPTION
    description = json.loads(file.read_text())
    for head in description["config"]["heads"].values():
        del head["hold"]
    file.write_text(json.dumps(description))
    assert checkpoint.describe(old) == checkpoint.describe(trained)
