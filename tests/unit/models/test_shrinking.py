"""A checkpoint into a smaller one: what stays, how it learns, which heads it may have."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.data.examples import Example
from polyhead_models.errors import CheckpointError, DataError, ShrinkError
from polyhead_models.model import MultiHeadModel
from polyhead_models.shrinking import (
    ShrinkSettings,
    anatomy,
    gate,
    keeping,
    mixing,
    reports,
    rounding,
    shrink,
    stages,
    texts,
)
from polyhead_models.shrinking.anatomy import EncoderShape
from polyhead_models.shrinking.students import Standing, student

SMALL = {"layers": 1, "ffn": 64, "attention_heads": 2}
STEPS = (4, 30)


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """The table of costs is measured once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "some.txt"
    lines = [f"parcel {n} is late in oslo{' again' * (n % 5)}" for n in range(60)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def settings(**changes):
    return ShrinkSettings(**{**SMALL, "steps": STEPS, "max_drop": 100, "max_distance": 2} | changes)


@pytest.fixture(scope="module")
def made(trained, text_file, costs, tmp_path_factory):
    """A student with texts, and its teacher's weights from before."""
    target = tmp_path_factory.mktemp("made") / "student"
    before = (trained / "model.safetensors").read_bytes()
    found = shrink(trained, target, settings(texts=(text_file,)))
    assert (trained / "model.safetensors").read_bytes() == before
    return found


def weights(path):
    return checkpoints.load(path).model.state_dict()


def assert_equal_weights(one, two):
    one, two = weights(one), weights(two)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_student_is_a_checkpoint_of_the_shape_that_was_asked_for(made, trained):
    student = checkpoints.load(made.path)
    assert anatomy.shape_of(student.model.encoder) == EncoderShape(**SMALL)
    assert set(student.model.specs) == set(checkpoints.describe(trained).heads)
    assert (
        student.engine()("parcel 3 is late")["topic"].label in student.model.specs["topic"].labels
    )
    for name in ("shrink.md", "shrink.json", "shrink.png"):
        assert (made.path / name).stat().st_size
    report = json.loads((made.path / "shrink.json").read_text(encoding="utf-8"))
    assert report["student"] == {"shape": SMALL, "steps": list(STEPS)}
    assert report["texts"]["unlabelled"] == 60


def test_equal_seeds_and_steps_give_equal_students(made, trained, text_file, tmp_path):
    again = shrink(trained, tmp_path / "student", settings(texts=(text_file,)))
    assert_equal_weights(again.path, made.path)
    other = shrink(trained, tmp_path / "other", settings(texts=(text_file,), seed=1))
    assert not torch.equal(
        *(weights(p.path)["heads.head_topic.projection.1.weight"] for p in (made, other))
    )


@pytest.mark.parametrize("nth", [1, 5])
def test_a_run_that_was_stopped_goes_on_to_the_same_student(
    made, trained, text_file, stopped_at, tmp_path, nth
):
    target = tmp_path / "student"
    with stopped_at("task, step", nth=nth):
        shrink(trained, target, settings(texts=(text_file,)))
    assert not target.exists()
    with pytest.raises(CheckpointError, match="--resume"):
        shrink(trained, target, settings(texts=(text_file,)))
    with pytest.raises(CheckpointError, match="other settings"):
        shrink(trained, target, settings(texts=(text_file,), seed=3), resume=True)
    minutes = tmp_path / ".student.partial" / "minutes.json"
    assert json.loads(minutes.read_text(encoding="utf-8"))["task phase"] > 0
    minutes.write_text('{"task phase": 7}', encoding="utf-8")
    done = shrink(trained, target, settings(texts=(text_file,)), resume=True)
    assert_equal_weights(done.path, made.path)
    assert 7 <= done.report["minutes"]["task phase"] < 14
    assert not (tmp_path / ".student.partial").exists()


def test_a_run_that_starts_anew_takes_up_nothing(made, trained, text_file, stopped_at, tmp_path):
    target = tmp_path / "student"
    with stopped_at("task, step", nth=5):
        shrink(trained, target, settings(texts=(text_file,), seed=3))
    shutil.move(text_file, gone := text_file.with_suffix(".gone"))
    with pytest.raises(CheckpointError, match="interrupted"):  # before a text is read
        shrink(trained, target, settings())
    shutil.move(gone, text_file)
    done = shrink(trained, target, settings(texts=(text_file,)), overwrite=True)
    assert_equal_weights(done.path, made.path)


def test_a_finished_student_is_kept_if_it_is_up_to_date(made, trained, text_file):
    with pytest.raises(CheckpointError, match="exists"):
        shrink(trained, made.path, settings(texts=(text_file,)))
    assert shrink(trained, made.path, settings(texts=(text_file,)), resume=True).reused
    with pytest.raises(CheckpointError, match="other settings"):
        shrink(trained, made.path, settings(), resume=True)


def test_no_good_head_is_an_error_and_a_looser_gate_judges_again(trained, costs, tmp_path, notes):
    target, partial = tmp_path / "student", tmp_path / ".student.partial"
    strict = settings(steps=(0, 10), max_distance=1e-9)
    with pytest.raises(ShrinkError, match="no head of the student"):
        shrink(trained, target, strict, heads=["embedding"])
    assert "| teacher |" in (partial / "shrink.md").read_text(encoding="utf-8")
    told = len([line for line in notes() if line.startswith("task, step")])
    shrink(trained, target, settings(steps=(0, 10)), heads=["embedding"], resume=True)
    assert len([line for line in notes() if line.startswith("task, step")]) == told == 10
    assert set(checkpoints.describe(target).heads) == {"embedding"}


def test_a_head_that_fails_stays_with_the_teacher(trained, costs, tmp_path, notes):
    loose = settings(steps=(0, 1), max_distance=1e-9)
    found = shrink(trained, tmp_path / "student", loose, heads=["topic", "embedding"])
    assert set(checkpoints.describe(found.path).heads) == {"topic"}
    assert not found.report["heads"]["embedding"]["passed"]
    assert any(line.startswith("embedding stays with the teacher: cosine") for line in notes())


def test_texts_without_labels_are_enough(trained, text_file, costs, tmp_path):
    lone = tmp_path / "lone"
    shutil.copytree(trained, lone)
    described = json.loads((lone / "polyhead.json").read_text(encoding="utf-8"))
    for source in described["config"]["data"].values():
        source["train"] = source["validation"] = "gone.jsonl"
    (lone / "polyhead.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(DataError, match="gone"):
        shrink(lone, tmp_path / "none", settings())
    found = shrink(lone, tmp_path / "student", settings(texts=(text_file,)))
    assert {verdict["metric"] for verdict in found.report["heads"].values()} <= {
        "agreement",
        "cosine",
    }
    assert found.report["texts"]["labelled"] == 0


def test_a_student_may_start_where_another_one_was(trained, text_file, costs, tmp_path):
    general = tmp_path / "general"
    own = settings(texts=(text_file,))
    shrink(trained, tmp_path / "first", own, save_general=general)
    later = ShrinkSettings(start=general, steps=(0, 1), max_drop=100, max_distance=2)
    found = shrink(trained, tmp_path / "second", later)
    assert anatomy.shape_of(checkpoints.load(found.path).model.encoder) == EncoderShape(**SMALL)
    assert found.report["student"]["steps"] == [0, 1]


@pytest.mark.parametrize(
    ("layers", "hidden", "factor"), [(1, 64, 1.0), (3, 384, 1.0), (3, 768, 0.5), (12, 768, 0.125)]
)
def test_larger_students_learn_at_smaller_rates(layers, hidden, factor):
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 2}
    encoder = encoders.build(
        {"model_type": "bert", "vocab_size": 8, "intermediate_size": 8, **sizes}
    )
    assert stages.gentler(SimpleNamespace(model=MultiHeadModel(encoder, {}))) == factor


def test_a_student_may_be_shrunk_again(made, costs, tmp_path):
    with pytest.raises(ShrinkError, match="times as fast"):
        shrink(made.path, tmp_path / "next", ShrinkSettings(steps=(0, 1)))
    assert not list(tmp_path.iterdir())  # no run that would be called interrupted
    again = settings(steps=(0, 1))
    assert checkpoints.is_checkpoint(shrink(made.path, tmp_path / "next", again).path)


@pytest.mark.parametrize(
    "changes",
    [{"minutes": 0}, {"max_drop": -1}, {"speed_up": 1.0}, {"steps": (0, 0)}],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ShrinkError, match=next(iter(changes))):
        ShrinkSettings(**changes)


def test_an_unknown_head_is_refused(trained, tmp_path):
    with pytest.raises(ShrinkError, match="no head 'mood'"):
        shrink(trained, tmp_path / "student", settings(), heads=["mood"])
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def wide():
    """An encoder with neurons to choose from, and batches of its ids."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "bert", "vocab_size": 64, "intermediate_size": 96, **sizes}
    encoder = encoders.build({**config, "initializer_range": 0.3}).eval()
    batches = [
        {"input_ids": ids, "attention_mask": (ids > 5).long().index_fill(1, torch.tensor([0]), 1)}
        for ids in torch.randint(0, 64, (6, 8, 12))
    ]
    return encoder, batches


def test_fitting_never_makes_a_sub_layer_worse(wide):
    encoder, batches = wide
    random = torch.Generator().manual_seed(4)
    kept = [
        tuple(torch.randperm(n, generator=random)[:k].sort().values for n, k in ((96, 40), (4, 2)))
        for _ in range(2)
    ]
    plain = anatomy.narrowed(
        encoder, layers=[0, 1], neurons=[n for n, _ in kept], heads=[h for _, h in kept]
    )
    found = keeping.fitted(encoder, kept, keeping.moments(encoder, batches), [0, 1])
    for which in ("ffn_out", "attention_out"):
        for i in (0, 1):
            whole, before, after = (
                getattr(anatomy.sub_layers(e)[i], which) for e in (encoder, plain, found)
            )
            columns = kept[i][0] if which == "ffn_out" else None
            if columns is None:
                columns = (kept[i][1][:, None] * 8 + torch.arange(8)).flatten()
            errors = [0.0, 0.0]
            for batch in batches:
                seen = []
                hook = whole.register_forward_pre_hook(
                    lambda _, inputs, into=seen: into.extend(inputs)
                )
                with torch.no_grad():
                    encoder(**batch)
                hook.remove()
                x = seen[0][batch["attention_mask"].bool()]
                for place, linear in enumerate((before, after)):
                    with torch.no_grad():
                        far = linear(x[:, columns]) - whole(x)
                    errors[place] += float((far**2).sum())
            assert errors[1] < errors[0] * 0.999, (which, i)


def test_what_changes_nothing_is_of_no_importance(wide):
    encoder, batches = wide
    idle = encoders.build(encoders.settings(encoder)).eval()
    idle.load_state_dict(encoder.state_dict())
    silent = [3, 50, 95]
    with torch.no_grad():
        for own in anatomy.sub_layers(idle):
            own.ffn_out.weight[:, silent] = 0
            own.attention_out.weight[:, 8:16] = 0
    found = keeping.importance(MultiHeadModel(idle, {}), batches)
    assert (found.neurons[:, silent] == 0).all()
    assert (found.heads[:, 1] == 0).all()
    others = np.setdiff1d(np.arange(96), silent)
    assert (found.neurons[:, others] > 0).all()
    neurons, heads = found.best(EncoderShape(layers=2, ffn=93, attention_heads=3), 1)
    assert neurons.tolist() == others.tolist()
    assert heads.tolist() == [0, 2, 3]


def test_importance_is_the_mean_square_of_the_change(wide):
    """Against finite differences of the last states, over many draws."""
    encoder, batches = wide
    model = MultiHeadModel(encoder, {})
    draws = [keeping.importance(model, batches[:1], seed=seed).heads for seed in range(200)]
    mean = torch.stack([draw / draw.mean() for draw in draws]).mean(dim=0)
    exact, real = torch.zeros(2, 4), batches[0]["attention_mask"].bool()
    for layer in range(2):
        for head in range(4):
            mask, step = torch.ones(2, 4), 1e-2
            states = []
            for sign in (1, -1):
                mask[layer, head] = 1 + sign * step
                with torch.no_grad(), anatomy.masked(encoder, heads=mask):
                    states.append(encoder(**batches[0]).last_hidden_state[real])
            exact[layer, head] = (((states[0] - states[1]) / (2 * step)) ** 2).sum()
    assert torch.allclose(mean / mean.mean(), exact / exact.mean(), rtol=0.35)
    assert torch.corrcoef(torch.stack([mean.flatten(), exact.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize(("depth", "count"), [(6, 3), (6, 2), (6, 6), (12, 4), (2, 1), (6, 5)])
def test_choices_of_layers_are_ascending_and_differ(depth, count):
    found = keeping.layer_choices(depth, count)
    assert len(set(found)) == len(found) <= 6
    for choice in found:
        assert len(choice) == count
        assert list(choice) == sorted(set(choice))
        assert set(choice) <= set(range(depth))


def test_layers_stand_for_the_teachers_evenly_and_the_last_for_the_last():
    standing = Standing.even(3, 6)
    assert standing.states == (2, 4, 6)
    assert [standing.place(i) for i in range(7)] == [0, 1, 1, 2, 2, 3, 3]
    assert standing.place(-1) == 3


@pytest.mark.parametrize("layers", ["mix", 1, -1])
def test_heads_read_what_stands_for_their_layers(write_config, costs, tmp_path, layers):
    from polyhead_models import config, training

    path = write_config(tmp_path, heads={"topic": {"layers": layers}})
    trained = training.train(config.load(path), tmp_path / "checkpoint").path
    found = shrink(trained, tmp_path / "student", settings(steps=(0, 2)), heads=["topic"])
    own = checkpoints.load(found.path)
    assert own.model.specs["topic"].layers == ("mix" if layers == "mix" else 1)
    assert own.engine()("parcel 3 is late")["topic"].score > 0


def test_texts_come_from_files_and_folders_each_once(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\n two \r\none\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "three"}\n{"text": " "}\n', encoding="utf-8")
    (tmp_path / "c.bin").write_bytes(b"\xff")
    assert texts.read([tmp_path]) == ["one", "two", "three"]
    assert texts.read([tmp_path / "b.jsonl", tmp_path / "a.txt"]) == ["three", "one", "two"]
    (tmp_path / "d.jsonl").write_text('{"line": "three"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"d\.jsonl:1: 'text'"):
        texts.read([tmp_path])
    (tmp_path / "none").mkdir()
    for place in (tmp_path / "none", tmp_path / "gone.txt"):
        with pytest.raises(DataError, match="no file of texts"):
            texts.read([place])


def test_without_labels_a_head_is_judged_by_the_teachers_answers(learnt):
    asked = [f"parcel {n} is late" for n in range(9)]
    engine = learnt.engine()
    found = gate.judge(engine, engine, [], asked, max_drop=1.0, max_distance=0.05)
    assert found
    for verdict in found.values():
        assert verdict.metric in ("agreement", "cosine")
        assert verdict.passed
        assert verdict.drop.value == pytest.approx(0, abs=1e-6)


def test_a_spoilt_head_does_not_pass(learnt):
    spoilt = student(learnt, learnt.model.encoder, Standing.even(2, 2))
    with torch.no_grad():
        spoilt.model.networks["topic"].projection[-1].bias.add_(
            torch.tensor([1e3, *[0.0] * (len(spoilt.model.specs["topic"].labels) - 1)])
        )
    asked = [f"parcel {n} is late" for n in range(3)] + ["the match was lost", "rain tomorrow"]
    found = gate.judge(learnt.engine(), spoilt.engine(), [], asked, max_drop=1, max_distance=1)
    assert not found["topic"].passed
    assert all(verdict.passed for name, verdict in found.items() if name != "topic")


def test_student_and_teacher_together_are_judged_where_there_is_one_confidence(learnt):
    asked = [f"{word} parcel {n} is late" for n in range(120) for word in ("our", "a")]
    (head,) = [n for n, spec in learnt.model.specs.items() if spec.kind == "classification.v1"][:1]
    engine = learnt.engine()
    given = [
        Example(f"x:{n}", "x", text, {head: engine(text)[head].label})
        for n, text in enumerate(asked)
    ]
    twin = gate.judge(engine, engine, given, [], max_drop=1.0, max_distance=0.05)[head].cascade
    assert (twin.asked, twin.changed, twin.value) == (0, 0, 1)
    spoilt = student(learnt, learnt.model.encoder, Standing.even(2, 2))
    with torch.no_grad():
        spoilt.model.networks[head].projection[-1].bias.normal_(std=30)
    found = gate.judge(engine, spoilt.engine(), given, [], max_drop=1.0, max_distance=0.05)[head]
    if found.cascade is not None:
        assert found.cascade.changed <= 0.005
        assert found.cascade.value >= found.student
    others = gate.judge(engine, engine, [], asked[:9], max_drop=1.0, max_distance=0.05)
    assert all(verdict.cascade is None for verdict in others.values())


def test_a_report_has_the_cascade(made):
    report = json.loads((made.path / "shrink.json").read_text(encoding="utf-8"))
    assert "A cascade" not in (made.path / "shrink.md").read_text(encoding="utf-8")
    name = next(iter(report["heads"]))
    report["heads"][name]["cascade"] = {"asked": 0.125, "changed": 0.0025, "value": 0.75}
    report["milliseconds"] = {"teacher": 2.0, "student": 1.0}
    files = reports.files(report)
    page = files["shrink.md"].decode()
    assert re.search(rf"\| {name} +\| +0.75(00)? +\| +12.5% +\| +0.2% +\| +0.6[23] +\|", page), page
    assert files["shrink.png"].startswith(b"\x89PNG")


def test_summaries_are_not_judged_without_labels(learnt):
    # An engine that can answer nothing: whoever asks it fails.
    silent = SimpleNamespace(
        heads={"summary": replace(learnt.model.specs["topic"], kind="summary.v1")}
    )
    asked = ["parcel 3 is late"]
    assert gate.judge(silent, silent, [], asked, max_drop=1, max_distance=1) == {}


def test_a_run_does_not_go_on_with_other_rows(trained, costs, stopped_at, tmp_path):
    own = tmp_path / "teacher"
    shutil.copytree(trained.parent, own)
    described = json.loads((own / trained.name / "polyhead.json").read_text(encoding="utf-8"))
    for source in described["config"]["data"].values():
        source["train"] = source["validation"] = str(own / "data" / "train.jsonl")
    (own / trained.name / "polyhead.json").write_text(json.dumps(described), encoding="utf-8")
    with stopped_at("task, step"):
        shrink(own / trained.name, tmp_path / "student", settings())
    rows = (own / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    (own / "data" / "train.jsonl").write_text("\n".join(rows[1:]), encoding="utf-8")
    with pytest.raises(CheckpointError, match="have changed"):
        shrink(own / trained.name, tmp_path / "student", settings(), resume=True)


def test_mixed_texts_start_as_one_and_end_as_another():
    own, others = ["my parcel is late", "refund the coat please"], ["rain fell all night in oslo"]
    found = mixing.mixed(own, [*others, " "], 50)
    assert found == mixing.mixed(own, others, 50) != mixing.mixed(own, others, 50, seed=1)
    assert len(found) == len(set(found)) > 20
    ends = tuple(text.split()[-1] for text in own + others)
    for text in found:
        assert text.split()[0] in ("my", "refund")
        assert text.split()[-1] in ends
        assert set(text.split()) <= set(" ".join(own + others).split())
    assert any("oslo" in text for text in found)
    assert mixing.mixed([], others, 9) == []
    assert all("oslo" not in text for text in mixing.mixed(own, [], 50))


def test_mixed_texts_without_blanks_are_cut_between_characters():
    found = mixing.mixed(["包裹还没有到", "我要退货"], [], 40)
    assert len(found) > 10
    assert all(text[0] in "包我" and text[-1] in "到货" and " " not in text for text in found)


def test_rounding_is_to_255_values_and_gradients_pass_as_if_it_were_not(wide):
    encoder, batches = wide
    linear = anatomy.sub_layers(encoder)[0].ffn_out
    seen = []
    hook = linear.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    plain = encoder(**batches[0]).last_hidden_state
    with rounding.rounded(encoder):
        near = encoder(**batches[0]).last_hidden_state
    again = encoder(**batches[0]).last_hidden_state
    hook.remove()
    assert torch.equal(plain, again)
    assert 0 < (near - plain).abs().max() < 0.1 * plain.abs().max()
    exact, coarse = seen[0], seen[1]
    assert coarse.unique().numel() <= 255 < exact.unique().numel()
    steps = coarse / (coarse.abs().max() / 127)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    (gradient,) = torch.autograd.grad(near.sum(), [linear.weight])
    assert gradient.abs().sum() > 0
