"""Learning from a trained head: the term of the loss, and what a teacher may be."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead_models import checkpoint, config
from polyhead_models.config import TeacherConfig
from polyhead_models.errors import ConfigError
from polyhead_models.heads import NETWORKS
from polyhead_models.training import resumable, train
from polyhead_models.training.distillation import load
from polyhead_models.training.objective import Objective

NAN = float("nan")
IDS = torch.tensor([[2, 9, 8, 3]])


@pytest.fixture
def model(trained):
    return checkpoint.load(trained).model.eval()


def test_a_teacher_of_the_same_opinion_teaches_nothing(model):
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    assert model.networks["topic"].distil(logits, logits + 7.0, 2.0).item() == pytest.approx(0.0)


def test_the_term_is_the_formula_of_its_source(model):
    own, teacher = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    p, q = (torch.softmax(x / 3.0, dim=1) for x in (teacher, own))
    expected = 9.0 * (p * (p / q).log()).sum()
    assert model.networks["topic"].distil(own, teacher, 3.0).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_tokens_that_the_teacher_does_not_know_count_for_nothing(model):
    network = model.networks["entities"]
    own, teacher = torch.randn(1, 3, network.count), torch.randn(1, 3, network.count)
    teacher[0, 2] = NAN
    found = network.distil(own, teacher, 2.0)
    assert found.item() == pytest.approx(network.distil(own[:, :2], teacher[:, :2], 2.0).item())
    assert network.distil(own, torch.full_like(own, NAN), 2.0).item() == 0.0


def test_labels_and_teacher_share_the_loss(model):
    teacher = TeacherConfig(checkpoint="x", weight=0.25, temperature=2.0)
    objective = Objective(model, {"topic": 1.0}, "fixed", teachers={"topic": teacher})
    mask, targets, said = torch.ones_like(IDS), torch.tensor([1]), torch.tensor([[1.0, 2.0, 0.0]])
    network, logits = model.networks["topic"], model(IDS, mask)["topic"]
    expected = 0.75 * network.loss(logits, targets) + 0.25 * network.distil(logits, said, 2.0)
    found = objective(IDS, mask, {"topic": targets}, teachers={"topic": said})["loss"]
    assert found.item() == pytest.approx(expected.item())


def test_a_pupil_learns_from_its_teacher_alone(write_config, write_rows, trained, tmp_path):
    """The labels of the pupil's rows are all wrong; the teacher's are right."""
    teacher = {"checkpoint": str(trained), "weight": 1.0}
    heads = {"topic": {"teacher": teacher}, "entities": {"teacher": teacher}, "embedding": None}
    path = write_config(
        tmp_path,
        heads=heads,
        training={"epochs": 120, "learning_rate": 6e-3},
        data={"messages": {"validation": None}},
    )
    learnt = checkpoint.load(trained)
    file = tmp_path / "data" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    turned = {"home": "delivery", "delivery": "praise", "praise": "home"}
    wrong = [
        {**row, "topic": turned[row["topic"]], "entities": row["entities"][i % 2 : i % 2 + 1]}
        for i, row in enumerate(rows)
    ]
    write_rows(file, wrong)
    pupil = checkpoint.load(train(config.load(path), tmp_path / "pupil").path).engine()
    texts = [row["text"] for row in rows]
    for own, wanted in zip(pupil.predict(texts), learnt.engine().predict(texts), strict=True):
        assert own["topic"].label == wanted["topic"].label
        assert own["entities"].decision == wanted["entities"].decision


def test_labels_in_another_order_are_translated(model, trained):
    spec = model.networks["topic"].spec
    other = replace(spec, labels=tuple(reversed(spec.labels)))
    teacher = load("topic", TeacherConfig(checkpoint=str(trained)), other)
    row = torch.tensor([1.0, 2.0, 3.0])
    assert teacher._translated(row).tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("teacher", "changes", "message"),
    [
        ({"head": "mood"}, {}, "has no head 'mood'; it has topic, entities, embedding"),
        ({"head": "entities"}, {}, "the kind of 'entities' .* is tokens.v1, expected classif"),
        ({}, {"labels": ("home", "moon", "praise")}, "other labels; .* 'delivery'"),
    ],
)
def test_a_teacher_of_something_else_is_refused(trained, model, teacher, changes, message):
    spec = replace(model.networks["topic"].spec, **changes)
    with pytest.raises(ConfigError, match=message):
        load("topic", TeacherConfig(checkpoint=str(trained), **teacher), spec)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"checkpoint": "x", "weight": 0.0}, "weight: found 0.0, expected above 0 to 1"),
        ({"checkpoint": "x", "temperature": 0.0}, "temperature: found 0.0, expected more than 0"),
        ({}, "checkpoint"),
    ],
)
def test_a_bad_setting_is_refused(write_config, tmp_path, teacher, message):
    with pytest.raises(ConfigError, match=message):
        config.load(write_config(tmp_path, heads={"topic": {"teacher": teacher}}))


def test_class_weights_do_not_bend_what_a_teacher_says():
    spec = HeadSpec(kind="multilabel.v1", output="o", labels=("a",), pooling="mean", max_tokens=9)
    network = NETWORKS["multilabel.v1"](spec, width=4, depth=1)
    network.class_weights = torch.tensor([9.0])
    own = torch.zeros(1, 1, requires_grad=True)
    network.distil(own, torch.zeros(1, 1), 2.0).backward()
    assert own.grad.item() == pytest.approx(0.0, abs=1e-7)  # the teacher's 0.5 is the best answer


def test_a_sure_teacher_of_a_set_says_what_labels_say():
    spec = HeadSpec(
        kind="multilabel.v1", output="o", labels=("a", "b"), pooling="mean", max_tokens=9
    )
    network = NETWORKS["multilabel.v1"](spec, width=4, depth=1)
    own, sure = torch.tensor([[2.0, 1.0]]), torch.tensor([[99.0, -99.0]])
    labels = network.loss(own, torch.tensor([[1.0, 0.0]]))
    assert network.distil(own, sure, 1.0).item() == pytest.approx(labels.item())


def test_a_teacher_that_reads_other_tokens_cannot_teach_tags(model, trained, wordpiece):
    spec = model.networks["entities"].spec
    teacher = load("entities", TeacherConfig(checkpoint=str(trained)), spec)
    (mine,), (theirs,) = wordpiece.encode(["Anna lives"]), wordpiece.encode(["Anna lives in Oslo"])
    with pytest.raises(ConfigError, match="it reads other tokens than its pupil"):
        teacher._windows(torch.zeros(len(theirs), 5), mine, theirs)


def test_another_teacher_is_another_run(write_config, trained, tmp_path):
    copy = tmp_path / "teacher"
    shutil.copytree(trained, copy)
    heads = {"topic": {"teacher": {"checkpoint": str(copy)}}, "entities": None}
    made = config.load(write_config(tmp_path, heads=heads, training={"epochs": 1}))
    train(made, tmp_path / "pupil")
    assert resumable(made, tmp_path / "pupil")
    moved = copy.rename(tmp_path / "moved")
    elsewhere = config.load(
        write_config(
            tmp_path,
            heads={"topic": {"teacher": {"checkpoint": str(moved)}}, "entities": None},
            training={"epochs": 1},
        )
    )
    assert resumable(elsewhere, tmp_path / "pupil")
    with (moved / checkpoint.WEIGHTS).open("ab") as file:
        file.write(b"x")
    assert not resumable(elsewhere, tmp_path / "pupil")
