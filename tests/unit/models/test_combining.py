import json
import shutil
from dataclasses import replace

import pytest
import torch

from polyhead_models import checkpoint, config, training
from polyhead_models.combining import Part, combine, remove
from polyhead_models.errors import CheckpointError, CombineError

TEXTS = ["Anna lives in Oslo", "the parcel was late", "thanks", "", "Anna lives in Rome. " * 20]
URGENT = {"kind": "classification", "data": "messages", "target": "topic", "pooling": "cls"}


@pytest.fixture(scope="module")
def urgent(trained, write_config, tmp_path_factory):
    """A head trained on the frozen encoder of the deployed checkpoint."""
    folder = tmp_path_factory.mktemp("urgent")
    heads = {"topic": None, "entities": None, "embedding": None, "urgency": URGENT}
    path = write_config(
        folder, encoder={"name": str(trained)}, heads=heads, training={"freeze": "encoder"}
    )
    return training.train(config.load(path), folder / "checkpoint").path


@pytest.fixture
def changed(trained, tmp_path):
    """A copy of the trained checkpoint with other tensors: `changed(tensor_name=0.5)`."""

    def make(name="changed", **changes):
        made = checkpoint.load(trained)
        state = made.model.state_dict()
        for key, amount in changes.items():
            state[key.replace("__", ".")].add_(amount)
        folder = tmp_path / name
        folder.mkdir()
        checkpoint.save(folder, made, checkpoint.metrics(trained))
        return folder

    return make


def edit(folder, file, change):
    """Rewrite a JSON file of a checkpoint."""
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    change(content)
    (folder / file).write_text(json.dumps(content), encoding="utf-8")


def logits(path, texts=TEXTS):
    return checkpoint.load(path).engine().logits(texts)


def assert_same(found, expected, names):
    for name, before in names.items():
        pairs = zip(found[name], expected[before], strict=True)
        assert all(a.tobytes() == b.tobytes() for a, b in pairs)


def test_a_new_head_leaves_the_deployed_ones_as_they_were(trained, urgent, tmp_path):
    combine([Part(trained), Part(urgent)], tmp_path / "both")
    found = logits(tmp_path / "both")
    assert list(found) == ["topic", "entities", "embedding", "urgency"]
    same = {name: name for name in ("topic", "entities", "embedding")}
    assert_same(found, logits(trained), same)
    assert_same(found, logits(urgent), {"urgency": "urgency"})


def test_training_on_a_frozen_checkpoint_keeps_its_encoder(trained, urgent):
    before, after = (checkpoint.load(path).model.encoder.state_dict() for path in (trained, urgent))
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_head_that_is_removed_leaves_the_others_as_they_were(trained, tmp_path):
    remove(trained, ["topic"], tmp_path / "fewer")
    found = logits(tmp_path / "fewer")
    assert list(found) == ["entities", "embedding"]
    assert_same(found, logits(trained), {name: name for name in found})


def test_a_long_text_is_read_in_the_same_windows_without_the_longest_stride(changed, tmp_path):
    folder = changed()
    edit(folder, "polyhead.json", lambda c: c["heads"]["topic"].update(stride=20))
    remove(folder, ["topic"], tmp_path / "fewer")
    found = logits(tmp_path / "fewer")
    assert_same(found, logits(folder), {name: name for name in found})


def test_adding_and_removing_gives_the_checkpoint_back(trained, urgent, tmp_path):
    combine([Part(trained), Part(urgent)], tmp_path / "both")
    remove(tmp_path / "both", ["urgency"], tmp_path / "again")
    before, after = (checkpoint.load(path) for path in (trained, tmp_path / "again"))
    assert before.description.heads == after.description.heads
    assert before.description.data == after.description.data
    assert before.description.config.data == after.description.config.data
    state, again = before.model.state_dict(), after.model.state_dict()
    assert state.keys() == again.keys()
    assert all(torch.equal(state[key], again[key]) for key in state)


def test_heads_of_one_name_get_a_prefix(trained, tmp_path):
    parts = [Part(trained, "a-", ("topic",)), Part(trained, "b-", ("entities", "topic"))]
    description = combine(parts, tmp_path / "both")
    assert list(description.heads) == ["a-topic", "b-topic", "b-entities"]
    names = {"a-topic": "topic", "b-topic": "topic", "b-entities": "entities"}
    assert_same(logits(tmp_path / "both"), logits(trained), names)


def test_two_heads_of_one_name_are_refused(trained, tmp_path):
    with pytest.raises(CombineError, match="both have a head 'topic'"):
        combine([Part(trained), Part(trained)], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_figures_and_origin_of_each_part_are_kept(trained, urgent, tmp_path):
    combine([Part(trained), Part(urgent, "new-")], tmp_path / "both")
    remove(tmp_path / "both", ["entities", "embedding"], tmp_path / "fewer")
    metrics = checkpoint.metrics(tmp_path / "fewer")
    own = [checkpoint.metrics(path) for path in (trained, urgent)]
    assert metrics["validation"] == {
        "topic": own[0]["validation"]["topic"],
        "new-urgency": own[1]["validation"]["urgency"],
    }
    assert [part["metrics"] for part in metrics["parts"]] == own
    described = checkpoint.describe(tmp_path / "fewer")
    assert [part["heads"] for part in described.provenance["parts"]] == [
        {"topic": "topic"},
        {"new-urgency": "urgency"},
    ]
    assert described.heads["topic"].labels == checkpoint.describe(trained).heads["topic"].labels


def test_the_data_of_each_part_is_remembered(trained, urgent, tmp_path):
    description = combine([Part(trained), Part(urgent)], tmp_path / "both")
    assert list(description.config.data) == ["messages", "messages-2"]
    assert description.config.heads["urgency"].data == "messages-2"
    assert checkpoint.digests(description.config) == description.texts


def test_encoders_of_one_name_with_other_weights_are_not_shared(trained, changed, tmp_path):
    other = changed(encoder__embeddings__LayerNorm__bias=1e-3)
    with pytest.raises(CombineError, match=r"first 'embeddings\.LayerNorm\.bias'.*says nothing"):
        combine([Part(trained), Part(other, "b-")], tmp_path / "both")


def test_encoders_of_other_names_with_the_same_weights_are_shared(trained, changed, tmp_path):
    other = changed()
    edit(other, "polyhead.json", lambda c: c["config"]["encoder"].update(name="something/else"))
    combine([Part(trained), Part(other, "b-")], tmp_path / "both")
    assert len(checkpoint.describe(tmp_path / "both").heads) == 6


@pytest.mark.parametrize(
    ("change", "part"),
    [
        pytest.param(
            lambda c: c["encoder"].update(layer_norm_eps=0.1), "another 'layer_norm_eps'", id="eps"
        ),
        pytest.param(
            lambda c: c["encoder"].update(num_attention_heads=4),
            "another 'num_attention_heads'",
            id="attention_heads",
        ),
        pytest.param(
            lambda c: c["config"]["encoder"].update(max_tokens=32), "at most 48.* 32", id="tokens"
        ),
        pytest.param(
            lambda c: [head.update(stride=3) for head in c["heads"].values()],
            "share 12 tokens and .* 3",
            id="stride",
        ),
    ],
)
def test_what_would_change_answers_is_refused(trained, changed, tmp_path, change, part):
    other = changed()
    edit(other, "polyhead.json", change)
    with pytest.raises(CombineError, match=part):
        combine([Part(trained), Part(other, "b-")], tmp_path / "both")


def test_settings_for_training_alone_do_not_matter(trained, changed, tmp_path):
    other = changed()
    edit(
        other,
        "polyhead.json",
        lambda c: c["encoder"].update(hidden_dropout_prob=0.3, initializer_range=1.0),
    )
    combine([Part(trained), Part(other, "b-")], tmp_path / "both")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        pytest.param(
            lambda t: t["model"]["vocab"].update(oslo=t["model"]["vocab"].pop("late")),
            "differ in 2 tokens, first 'late'",
            id="token",
        ),
        pytest.param(
            lambda t: t["normalizer"].update(lowercase=False), "another 'normalizer'", id="case"
        ),
    ],
)
def test_tokenizers_that_differ_are_refused(trained, changed, tmp_path, change, part):
    other = changed()
    edit(other, "tokenizer.json", change)
    with pytest.raises(CombineError, match=part):
        combine([Part(trained), Part(other, "b-")], tmp_path / "both")


@pytest.mark.parametrize(
    ("heads", "part"),
    [
        (["topics"], "no head 'topics'.*Did you mean 'topic'"),
        (["topic", "entities", "embedding"], "no head is left"),
    ],
    ids=["unknown", "all"],
)
def test_what_cannot_be_removed_is_said(trained, tmp_path, heads, part):
    with pytest.raises(CombineError, match=part):
        remove(trained, heads, tmp_path / "fewer")


def test_nothing_is_overwritten(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "there")
    with pytest.raises(CheckpointError, match="exists"):
        remove(trained, ["topic"], tmp_path / "there")


def test_a_mixed_layer_and_thresholds_come_along(learnt, tmp_path):
    heads = {**learnt.description.heads}
    heads["topic"] = replace(heads["topic"], layers="mix")
    model = checkpoint.assemble(learnt.model.encoder, heads, learnt.description.config.heads).eval()
    made = checkpoint.Checkpoint(model, learnt.tokenizer, replace(learnt.description, heads=heads))
    (tmp_path / "mixed").mkdir()
    checkpoint.save(tmp_path / "mixed", made, {})
    remove(tmp_path / "mixed", ["entities"], tmp_path / "fewer")
    assert_same(logits(tmp_path / "fewer"), logits(tmp_path / "mixed"), {"topic": "topic"})


@pytest.mark.parametrize(
    ("licenses", "kept"), [(("mit", "mit"), "mit"), (("mit", None), None)], ids=["same", "other"]
)
def test_the_card_keeps_the_licence_of_all_parts_and_the_languages_of_each(
    changed, notes, tmp_path, licenses, kept
):
    parts = []
    for name, license, languages in zip("ab", licenses, (["en", "de"], ["de", "fr"]), strict=True):
        parts.append(Part(changed(name), f"{name}-"))
        card = {"license": license, "language": languages}
        edit(parts[-1].path, "polyhead.json", lambda c, card=card: c["config"].update(card=card))
    card = combine(parts, tmp_path / "both").config.card
    assert (card.license, card.language) == (kept, ("en", "de", "fr"))
    assert any("b has none" in note for note in notes()) == (kept is None)
