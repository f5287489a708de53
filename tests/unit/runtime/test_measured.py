"""What was measured at export, in the manifest and in `polyhead inspect`."""

import json
from dataclasses import replace

import pytest

from polyhead import ManifestError
from polyhead import bundle as bundles
from polyhead.bundle import Attempt, Certificate, Gate, HeadQuality, digest

QUALITY = HeadQuality(
    split="validation",
    texts=200,
    metric="accuracy",
    fp32=0.9,
    exported=0.895,
    agreement=0.99,
    max_logit_error=0.25,
    mean_logit_error=0.02,
    changed=0.01,
    drop_interval=(-0.25, 1.5),
)
GATE = Gate(
    max_drop=0.5,
    max_flips=1.0,
    attempts=(
        Attempt(name="static scales", drop={"topic": 2.0}, changed={"topic": 3}, failed=("topic",)),
        Attempt(name="per-row scales", drop={"topic": 0.5}, changed={"topic": 1}, failed=()),
    ),
    per_row=("layer.0.output",),
)
CERTIFICATE = Certificate(
    graph="model.onnx",
    texts=6,
    batch_sizes=(1, 8, 64),
    threads=(1, 2, 4),
    max_difference=0.0,
    cpu="a CPU",
    onnxruntime="1.32.0",
)
NEWER = ("decisions", "changed_interval", "near_ties", "near_ties_changed")
MEASURED = {"quality": {"topic": QUALITY}, "gate": GATE, "certificate": CERTIFICATE}


@pytest.fixture(scope="module")
def measured(make_bundle, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("measured") / "bundle", **MEASURED)


@pytest.fixture
def pictured(make_bundle, edit_json, tmp_path):
    """A bundle whose model card has a picture."""
    folder = make_bundle(tmp_path / "bundle")
    (folder / "quality.png").write_bytes(b"\x89PNG")
    entry = digest.entry(folder / "quality.png")
    declared = {"file": entry.file, "sha256": entry.sha256, "size": entry.size}
    edit_json(folder / "manifest.json", lambda manifest: manifest.update(picture=declared))
    return folder


def test_all_of_it_is_read_as_it_was_written(measured):
    manifest = bundles.read(measured).manifest
    assert {name: getattr(manifest, name) for name in MEASURED} == MEASURED


def test_a_drop_is_in_points():
    assert QUALITY.drop == pytest.approx(0.5)
    assert QUALITY.drop_text == "+0.50 (-0.25 to +1.50)"


def test_changed_decisions_are_told_with_counts_and_bounds():
    counted = replace(
        QUALITY,
        changed=4 / 150,
        decisions=150,
        changed_interval=(0.00914, 0.05996),
        near_ties=12,
        near_ties_changed=3,
    )
    assert counted.changed_text == "4 of 150 (0.9% to 6.0%)"
    assert counted.near_ties_text == "12 of 162, 3 changed"


@pytest.mark.parametrize(
    ("quality", "text"),
    [
        pytest.param(QUALITY, "1.00%", id="older_bundle"),
        pytest.param(replace(QUALITY, changed=None), "-", id="oldest_bundle"),
        pytest.param(replace(QUALITY, changed_interval=(0.001, 0.02)), "1.00% (0.1% to 2.0%)"),
    ],
)
def test_a_share_without_counts_is_told(quality, text):
    assert quality.changed_text == text
    assert quality.near_ties_text == "-"


def test_the_graph_is_the_selected_attempt_and_in_older_bundles_the_last():
    assert GATE.attempt.name == "per-row scales"
    assert replace(GATE, selected=0).attempt.name == "static scales"


@pytest.mark.parametrize("selected", [2, -2])
def test_an_attempt_that_is_not_there_is_refused(make_bundle, edit_json, tmp_path, selected):
    folder = make_bundle(tmp_path / "bundle", **MEASURED)
    edit_json(folder / "manifest.json", lambda manifest: manifest["gate"].update(selected=selected))
    with pytest.raises(ManifestError, match="expected one of 2 attempts"):
        bundles.read(folder)


def test_the_verdict_of_each_head():
    attempt = replace(GATE.attempts[0], uncertain=("entities",))
    found = [attempt.verdict(head) for head in ("topic", "entities", "embedding")]
    assert found == ["fail", "uncertain", "pass"]


def test_inspect_says_which_heads_are_uncertain(polyhead, make_bundle, tmp_path):
    attempts = (GATE.attempts[0], replace(GATE.attempts[1], uncertain=("topic",)))
    gate = {"gate": replace(GATE, attempts=attempts)}
    folder = make_bundle(tmp_path / "bundle", **(MEASURED | gate))
    assert "per-row scales (attempt 2); topic is uncertain" in polyhead("inspect", folder).stdout


def test_a_head_without_references_has_no_drop():
    found = HeadQuality(split="validation", texts=1, agreement=1.0, max_logit_error=0.0)
    assert (found.drop, found.drop_text) == (None, "-")


def test_an_older_manifest_has_no_gate_and_no_certificate(make_bundle, edit_json, tmp_path):
    folder = make_bundle(tmp_path / "old")

    def change(manifest):
        for name in ("picture", "gate", "certificate"):
            del manifest[name]
        for quality in manifest["quality"].values():
            for name in ("mean_logit_error", "changed", "drop_interval", "at_chance", *NEWER):
                del quality[name]

    edit_json(folder / "manifest.json", change)
    manifest = bundles.read(folder).manifest
    assert (manifest.picture, manifest.gate, manifest.certificate) == (None, None, None)


def test_an_interval_has_two_ends(make_bundle, edit_json, tmp_path):
    folder = make_bundle(tmp_path / "bundle", **MEASURED)
    edit_json(
        folder / "manifest.json",
        lambda manifest: manifest["quality"]["topic"].update(drop_interval=[0.5]),
    )
    with pytest.raises(ManifestError, match="drop_interval: found 1 numbers, expected 2"):
        bundles.read(folder)


def test_a_declared_picture_is_read(pictured):
    manifest = bundles.read(pictured).manifest
    assert manifest.picture in manifest.files


@pytest.mark.parametrize("change", ["another", "gone"])
def test_a_picture_may_be_changed(pictured, change):
    (pictured / "quality.png").write_bytes(b"\x89PNG of another size")
    if change == "gone":
        (pictured / "quality.png").unlink()
    assert bundles.read(pictured).manifest.picture is not None


def test_inspect_shows_quality_gate_and_certificate(polyhead, measured):
    page = polyhead("inspect", measured).stdout
    _, metric, errors = (line for line in page.splitlines() if line.startswith("topic "))
    assert all(x in metric for x in ("0.9000", "0.8950", "+0.50 (-0.25 to +1.50)"))
    assert all(f" {x}" in errors for x in ("0.9900", "1.00%", "0.2500", "0.0200"))
    page = " ".join(page.split())
    assert (
        "gate: at most 0.5 points of a metric lost and 1% of the decisions changed;"
        " passed with per-row scales (attempt 2)" in page
    )
    assert (
        "certificate: logits of 6 texts in batches of 1, 8 and 64 and with 1, 2 and 4 threads are"
        " the same to the bit (model.onnx, a CPU, onnxruntime 1.32.0)" in page
    )


def test_inspect_names_the_picture_and_a_lacking_certificate(polyhead, pictured):
    page = polyhead("inspect", pictured).stdout
    assert "picture of the model card" in page
    assert "certificate: none" in page


def test_inspect_gives_all_of_it_as_json(polyhead, measured):
    found = json.loads(polyhead("inspect", "--json", measured).stdout)
    assert found["quality"]["topic"]["drop_interval"] == [-0.25, 1.5]
    assert found["gate"]["attempts"][0]["failed"] == ["topic"]
    assert found["certificate"]["max_difference"] == 0
