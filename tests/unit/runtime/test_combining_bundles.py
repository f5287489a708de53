"""`polyhead combine` of bundles."""

import json
from argparse import ArgumentParser
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import polyhead
from polyhead import HeadClash, ManifestError, load
from polyhead.bundle import is_collection, read, read_parts, writer
from polyhead.bundle.combining import combine
from polyhead.bundle.digest import entry
from polyhead.cli import combine as command
from polyhead.cli.delegated import NeedsModels
from polyhead.verify.golden import verify

TEXTS = ["The parcel was late.", "", "Anna lives in Oslo"]


@pytest.fixture(scope="module")
def other(make_bundle, graph, tmp_path_factory):
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    for weight in changed.graph.initializer:
        values = numpy_helper.to_array(weight)[::-1].copy()
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return make_bundle(
        tmp_path_factory.mktemp("other") / "bundle", model=changed, answers_of=changed
    )


@pytest.fixture(scope="module")
def combined(bundle, other, tmp_path_factory):
    target = tmp_path_factory.mktemp("combined") / "bundle"
    combine([(bundle, ""), (other, "b-")], target)
    return target


def test_it_answers_as_its_parts_do(combined, bundle, other):
    with load(combined) as both, load(bundle) as first, load(other) as second:
        expected = first.logits(TEXTS) | {f"b-{k}": v for k, v in second.logits(TEXTS).items()}
        found = both.logits(TEXTS)
        assert list(found) == list(expected)
        for name, arrays in expected.items():
            for array, own in zip(arrays, found[name], strict=True):
                np.testing.assert_array_equal(array, own)


def test_one_tokenizer_is_stored_once(combined, bundle):
    assert is_collection(combined)
    assert not is_collection(bundle)
    parts = read_parts(combined)
    assert len({part.manifest.tokenizer.file for part in parts}) == 1
    assert len({part.manifest.graphs[0].file for part in parts}) == 2
    assert len(list(combined.glob("tokenizer*.json"))) == 1


def test_figures_labels_and_provenance_are_kept(combined, bundle):
    own, (first, second) = read(bundle).manifest, read_parts(combined)
    assert first.manifest.provenance == second.manifest.provenance == own.provenance
    assert second.manifest.quality == {"b-topic": own.quality["topic"]}
    assert second.manifest.heads["b-topic"].labels == own.heads["topic"].labels


def test_each_card_shows_its_own_picture(make_bundle, tmp_path):
    made = []
    for name in ("first", "second"):
        folder = make_bundle(tmp_path / name)
        manifest = read(folder).manifest
        (folder / "quality.png").write_bytes(name.encode())
        (folder / "README.md").write_text(f"![Figures of {name}](quality.png)\n")
        card, picture = (entry(folder / file) for file in ("README.md", "quality.png"))
        writer.write_manifest(folder, replace(manifest, card=card, picture=picture))
        made.append(folder)
    combine([(made[0], ""), (made[1], "b-")], tmp_path / "both")
    for name, part in zip(("first", "second"), read_parts(tmp_path / "both"), strict=True):
        card, picture = part.manifest.card, part.manifest.picture
        assert picture is not None
        assert part.file(picture).read_text() == name
        assert part.file(card).read_text() == f"![Figures of {name}]({picture.file})\n"


def test_the_golden_answers_still_hold(combined):
    found = verify(combined, stability=True)
    assert found.passed
    assert [check.head for check in found.heads][3:] == ["b-topic", "b-entities", "b-embedding"]


def test_a_combined_bundle_may_be_a_part(combined, bundle, tmp_path):
    made = combine([(combined, ""), (bundle, "c-")], tmp_path / "three")
    assert len(made.parts) == 3
    with load(tmp_path / "three") as engine:
        assert len(engine("a")) == 9


def test_only_the_asked_sub_model_is_loaded(combined):
    with load(combined, heads=["b-topic"]) as engine:
        assert list(engine.heads) == ["b-topic"]
        assert "sub_models" not in engine.info()


def test_two_heads_of_one_name_are_refused(bundle, other, tmp_path):
    with pytest.raises(HeadClash, match="both have a head 'topic'"):
        combine([(bundle, ""), (other, "")], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_other_readers_say_that_there_are_several(combined):
    with pytest.raises(ManifestError, match="a bundle of 2 sub-models, expected one"):
        read(combined)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data.update(parts=[]), "parts: empty"),
        (lambda data: data["parts"].append(data["parts"][0]), "one head stands twice"),
        (lambda data: data["parts"][0].update(more=1), "unknown key 'more'"),
        (
            lambda data: data["parts"][1]["tokenizer"].update(size=1),
            "tokenizer.json stands twice with different content",
        ),
    ],
)
def test_a_changed_manifest_is_refused(bundle, other, tmp_path, edit_json, change, match):
    combine([(bundle, ""), (other, "b-")], tmp_path / "both")
    edit_json(tmp_path / "both" / "manifest.json", change)
    with pytest.raises(ManifestError, match=match):
        load(tmp_path / "both")


def test_a_changed_file_is_refused(bundle, other, tmp_path):
    combine([(bundle, ""), (other, "b-")], tmp_path / "both")
    file = tmp_path / "both" / "model-2.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(polyhead.DigestMismatch, match=r"model-2\.onnx"):
        load(tmp_path / "both")


def run(*words):
    parser = ArgumentParser()
    command.configure(parser)
    return command.execute(parser.parse_args([str(word) for word in words]))


def test_the_command_tells_what_is_shared(bundle, other, tmp_path, capsys):
    target = tmp_path / "both"
    assert run(bundle, other, "-o", target, "--prefix", "", "--prefix", "b-") == 0
    told = capsys.readouterr()
    assert "b-topic" in told.out
    assert "one tokenizer, a text is tokenised once" in told.err
    assert json.loads((target / "manifest.json").read_text())["version"] == 2


def test_bundles_and_checkpoints_do_not_mix(bundle, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(bundle, tmp_path, "-o", tmp_path / "both")
    assert "combine bundles, or checkpoints" in capsys.readouterr().err


def test_without_polyhead_models_checkpoints_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("polyhead.system.plugins.points", lambda group: [])
    with pytest.raises(NeedsModels, match="install polyhead-models"):
        run(tmp_path, tmp_path, "-o", tmp_path / "both")
