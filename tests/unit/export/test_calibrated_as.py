"""A head more over a deployed encoder: the int8 logits of the others stay, and all are gated."""

import json
import logging
from dataclasses import replace

import pytest

import polyhead
from polyhead.bundle import read
from polyhead.cli.main import main
from polyhead_export.combining import combine as combine_bundles
from polyhead_export.errors import DeployedError
from polyhead_export.export import Settings, export
from polyhead_models import checkpoint as checkpoints
from polyhead_models.combining import Part, combine
from polyhead_models.config import Config, DataConfig, EncoderConfig, HeadConfig, TrainingConfig
from polyhead_models.training import train

TEXTS = ["The parcel to Oslo was 3 days late.", "", "né à 東京 👍", "Thanks, 5 stars! " * 30]


@pytest.fixture(scope="module")
def add_head(checkpoint, tmp_path_factory):
    """`add_head(to, name)`: a checkpoint with a head more, trained on other texts."""

    def make(to, name):
        folder = tmp_path_factory.mktemp(name)
        rows = [
            {"text": f"please answer {name} {'soon! ' * (n % 7)}{n}", "urgent": str(n % 2)}
            for n in range(24)
        ]
        (folder / "train.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
        longest = checkpoints.describe(checkpoint).config.encoder.max_tokens
        config = Config(
            encoder=EncoderConfig(name=str(checkpoint), max_tokens=longest),
            data={name: DataConfig(train=str(folder / "train.jsonl"))},
            heads={name: HeadConfig(kind="classification", data=name, target="urgent")},
            training=TrainingConfig(epochs=1, batch_tokens=64, precision="fp32", freeze="encoder"),
        )
        made = train(config, folder / "alone", note=lambda _: None).path
        combine([Part(to), Part(made)], folder / "both")
        return folder / "both"

    return make


@pytest.fixture(scope="module")
def grown(checkpoint, add_head):
    return add_head(checkpoint, "urgent")


@pytest.fixture
def exporting(any_loss, tmp_path):
    """`exporting(checkpoint, name, as_bundle)`: an int8 bundle."""

    def make(source, name, calibrated_as=None, **more):
        settings = Settings(limits=any_loss, calibrated_as=calibrated_as, **more)
        export(source, tmp_path / name, settings, note=lambda _: None)
        return tmp_path / name

    return make


def bits(path):
    with polyhead.load(path, threads=1) as engine:
        found = engine.logits(TEXTS).items()
        return {name: [array.tobytes() for array in arrays] for name, arrays in found}


def test_the_deployed_heads_keep_their_int8_logits(exported, grown, exporting):
    before = bits(exported("int8"))
    after = bits(exporting(grown, "kept", exported("int8")))
    assert list(after) == [*before, "urgent"]
    assert {name: after[name] for name in before} == before
    anew = bits(exporting(grown, "anew"))
    assert any(anew[name] != before[name] for name in before)  # another sample, other ranges


def combined(target, *sources):
    """Bits of what bundles become, and the files of its first graphs."""
    parts = combine_bundles(sources, target).parts
    return bits(target), {part.graphs[0].file for part in parts}


def test_both_bundles_become_one_graph(exported, grown, exporting, tmp_path):
    before, kept = exported("int8"), exporting(grown, "kept", exported("int8"))
    expected = bits(before) | {f"new-{name}": found for name, found in bits(kept).items()}
    found, files = combined(tmp_path / "both", (before, ""), (kept, "new-"))
    assert found == expected
    assert len(files) == 1


def test_float_graphs_of_one_encoder_become_one_graph(exported, grown, tmp_path, any_loss):
    settings = Settings(precision="fp32", heads=("urgent",), limits=any_loss)
    export(grown, tmp_path / "urgent", settings, note=lambda _: None)
    expected = bits(exported("fp32")) | bits(tmp_path / "urgent")
    sources = (exported("fp32"), ""), (tmp_path / "urgent", "")
    found, files = combined(tmp_path / "both", *sources)
    assert found == expected
    assert len(files) == 1


def test_graphs_of_two_calibrations_stay_apart(exported, grown, exporting, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    before, anew = exported("int8"), exporting(grown, "anew")
    _, files = combined(tmp_path / "both", (before, ""), (anew, "new-"))
    assert len(files) == 2
    assert "operators compute the same" in caplog.text
    assert "--calibrated-as" in caplog.text


def test_a_second_head_keeps_them_too(exported, grown, add_head, exporting):
    first = exporting(grown, "first", exported("int8"))
    before = bits(first)
    after = bits(exporting(add_head(grown, "polite"), "second", first))
    assert list(after) == [*before, "polite"]
    assert {name: after[name] for name in before} == before


def test_all_heads_are_gated_again(grown, exporting):
    gate = read(exporting(grown, "bundle")).manifest.gate
    assert gate is not None
    assert set(gate.attempts[-1].changed) == set(checkpoints.describe(grown).heads)


def test_another_encoder_is_refused(exported, grown, exporting, tmp_path):
    made = checkpoints.load(grown)
    made.model.encoder.state_dict()["embeddings.LayerNorm.bias"].add_(1e-3)
    (tmp_path / "moved").mkdir()
    checkpoints.save(tmp_path / "moved", made, {})
    with pytest.raises(DeployedError, match=r'has the fingerprint.*freeze = "encoder"'):
        exporting(tmp_path / "moved", "bundle", exported("int8"))
    assert not (tmp_path / "bundle").exists()


def test_a_head_that_is_left_out_is_named(exported, grown, exporting):
    with pytest.raises(DeployedError, match="its head 'topic' is not exported; found urgent"):
        exporting(grown, "bundle", exported("int8"), heads=("urgent",))


def test_other_texts_are_refused(exported, grown, any_loss, tmp_path):
    config = checkpoints.describe(grown).config
    mail = config.data["mail"]
    other = replace(mail, train=mail.test)
    config = replace(config, data={**config.data, "mail": other})
    settings = Settings(limits=any_loss, calibrated_as=exported("int8"))
    with pytest.raises(DeployedError, match="calibrated on other texts of topic"):
        export(grown, tmp_path / "bundle", settings, config=config, note=lambda _: None)


def test_a_float_bundle_has_nothing_to_keep(exported, grown, exporting):
    with pytest.raises(DeployedError, match="expected an int8 bundle"):
        exporting(grown, "bundle", exported("fp32"))


def test_the_command_wants_int8(grown, tmp_path, capsys):
    words = ["export", str(grown), "-o", str(tmp_path / "b"), "--precision", "fp32"]
    with pytest.raises(SystemExit):
        main([*words, "--calibrated-as", str(tmp_path)])
    assert "--calibrated-as: goes with --precision int8" in capsys.readouterr().err
