"""A head more over a deployed encoder: the int8 logits of the others stay, and all are gated."""

import json
import logging
import shutil
from dataclasses import replace

import onnx_ir as ir
import pytest

import polyhead
from polyhead.bundle import read, writer
from polyhead.bundle.digest import entry, with_digest
from polyhead.cli.main import main
from polyhead.errors import DigestMismatch
from polyhead_export import graphs
from polyhead_export.combining import combine as combine_bundles
from polyhead_export.errors import DeployedError
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_export.texts import read_file
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
        made = train(config, folder / "alone").path
        combine([Part(to), Part(made)], folder / "both")
        return folder / "both"

    return make


@pytest.fixture(scope="module")
def grown(checkpoint, add_head):
    return add_head(checkpoint, "urgent")


@pytest.fixture(scope="module")
def exporting(any_loss):
    """`exporting(checkpoint, target, as_bundle)`: an int8 bundle."""

    def make(source, target, calibrated_as=None, **more):
        export(source, target, ExportSettings(limits=any_loss, calibrated_as=calibrated_as, **more))
        return target

    return make


@pytest.fixture(scope="module")
def kept(exported, grown, exporting, tmp_path_factory):
    """All heads, with the calibration of the deployed ones; nobody writes to it."""
    return exporting(grown, tmp_path_factory.mktemp("kept") / "bundle", exported("int8"))


@pytest.fixture(scope="module")
def anew(grown, exporting, tmp_path_factory):
    """All heads, calibrated again."""
    return exporting(grown, tmp_path_factory.mktemp("anew") / "bundle")


def stored(path):
    return json.loads((path / "calibration.json").read_text())


def bits(path):
    with polyhead.load(path, threads=1) as engine:
        found = engine.logits(TEXTS).items()
        return {name: [array.tobytes() for array in arrays] for name, arrays in found}


def test_the_deployed_heads_keep_their_int8_logits(exported, kept, anew):
    before, after = bits(exported("int8")), bits(kept)
    assert list(after) == [*before, "urgent"]
    assert {name: after[name] for name in before} == before
    other = bits(anew)
    assert any(other[name] != before[name] for name in before)  # another sample, other ranges


def combined(target, *sources):
    """Bits of what bundles become, and the files of its first graphs."""
    parts = combine_bundles(sources, target).parts
    return bits(target), {part.graphs[0].file for part in parts}


def test_both_bundles_become_one_graph(exported, kept, tmp_path):
    before = exported("int8")
    expected = bits(before) | {f"new-{name}": found for name, found in bits(kept).items()}
    found, files = combined(tmp_path / "both", (before, ""), (kept, "new-"))
    assert found == expected
    assert len(files) == 1


def test_float_graphs_of_one_encoder_become_one_graph(exported, grown, tmp_path, any_loss):
    settings = ExportSettings(precision="fp32", heads=("urgent",), limits=any_loss)
    export(grown, tmp_path / "urgent", settings)
    expected = bits(exported("fp32")) | bits(tmp_path / "urgent")
    sources = (exported("fp32"), ""), (tmp_path / "urgent", "")
    found, files = combined(tmp_path / "both", *sources)
    assert found == expected
    assert len(files) == 1


def test_graphs_of_two_calibrations_stay_apart(exported, anew, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    _, files = combined(tmp_path / "both", (exported("int8"), ""), (anew, "new-"))
    assert len(files) == 2
    assert "operators compute the same" in caplog.text
    assert "--calibrated-as" in caplog.text


def test_a_second_head_keeps_them_too(kept, grown, add_head, exporting, tmp_path):
    before = bits(kept)
    after = bits(exporting(add_head(grown, "polite"), tmp_path / "second", kept))
    assert list(after) == [*before, "polite"]
    assert {name: after[name] for name in before} == before


def test_all_heads_are_gated_again(grown, kept):
    gate = read(kept).manifest.gate
    assert gate is not None
    assert set(gate.attempt.changed) == set(checkpoints.describe(grown).heads)


def test_another_encoder_is_refused(exported, grown, exporting, tmp_path):
    made = checkpoints.load(grown)
    made.model.encoder.state_dict()["embeddings.LayerNorm.bias"].add_(1e-3)
    (tmp_path / "moved").mkdir()
    checkpoints.save(tmp_path / "moved", made, {})
    with pytest.raises(DeployedError, match=r'has the fingerprint.*freeze = "encoder"'):
        exporting(tmp_path / "moved", tmp_path / "bundle", exported("int8"))
    assert not (tmp_path / "bundle").exists()


def test_a_head_that_is_left_out_is_named(exported, grown, exporting, tmp_path):
    with pytest.raises(DeployedError, match="its head 'topic' is not exported; found urgent"):
        exporting(grown, tmp_path / "bundle", exported("int8"), heads=("urgent",))


def test_the_texts_of_the_deployed_heads_are_not_needed(exported, grown, any_loss, tmp_path):
    """Other texts than those of its calibration give the same bits."""
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"other words, {n} of them" for n in range(20)))
    settings = ExportSettings(limits=any_loss, calibrated_as=exported("int8"))
    export(grown, tmp_path / "bundle", settings, examples=read_file(path))
    before, after = bits(exported("int8")), bits(tmp_path / "bundle")
    assert {name: after[name] for name in before} == before


def test_a_bundle_without_its_calibration_is_to_be_exported_again(kept, grown, exporting, tmp_path):
    older = shutil.copytree(kept, tmp_path / "older")
    manifest = replace(read(older).manifest, calibration=None)
    writer.write_manifest(older, manifest)
    with pytest.raises(DeployedError, match=r"holds no calibration.*once again"):
        exporting(grown, tmp_path / "bundle", older)


def test_a_damaged_calibration_is_refused(kept, grown, exporting, tmp_path):
    damaged = shutil.copytree(kept, tmp_path / "damaged")
    file = damaged / "calibration.json"
    file.write_text(file.read_text().replace("0", "1", 1))
    with pytest.raises(DigestMismatch, match=r"calibration\.json"):
        exporting(grown, tmp_path / "bundle", damaged)


def test_other_logits_are_refused(kept, grown, exporting, tmp_path):
    """A calibration of other ranges, as after a change of the exporter."""
    moved = shutil.copytree(kept, tmp_path / "moved")
    changed = stored(moved)
    changed["points"][0]["high"] *= 2
    (moved / "calibration.json").write_text(json.dumps(changed))
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest["calibration"] = vars(entry(moved / "calibration.json"))
    (moved / "manifest.json").write_text(json.dumps(with_digest(manifest)))
    with pytest.raises(DeployedError, match="gives other logits in the new graph"):
        exporting(grown, tmp_path / "bundle", moved)


def test_weights_of_8_bits_are_to_be_exported_again(kept, grown, exporting, tmp_path):
    """As bundles of older versions have them."""
    older = shutil.copytree(kept, tmp_path / "older")
    manifest, model = read(older).manifest, ir.load(older / "model.int8.onnx")
    node = next(node for node in model.graph if node.op_type == "MatMulIntegerToFloat")
    weight = node.inputs[1]
    weight.const_value = ir.tensor(weight.const_value.numpy() * 2 - 1, name=weight.name)
    graphs.save(model, older / "model.int8.onnx")
    first = replace(manifest.graphs[0], **vars(entry(older / "model.int8.onnx")))
    writer.write_manifest(older, replace(manifest, graphs=(first, *manifest.graphs[1:])))
    with pytest.raises(DeployedError, match=r"weights up to 1\d\d, .*at most 64 "):
        exporting(grown, tmp_path / "bundle", older)


def test_a_float_bundle_has_nothing_to_keep(exported, grown, exporting, tmp_path):
    with pytest.raises(DeployedError, match="found a fp32 bundle, expected an int8 one"):
        exporting(grown, tmp_path / "bundle", exported("fp32"))


def test_the_command_refuses_a_float_graph(grown, tmp_path, capsys):
    words = ["export", str(grown), "-o", str(tmp_path / "b"), "--precision", "fp32"]
    with pytest.raises(SystemExit):
        main([*words, "--calibrated-as", str(tmp_path)])
    assert "--calibrated-as: does not go with --precision fp32" in capsys.readouterr().err
