"""The manifest's own digest: what it covers, and what is said when it does not fit."""

import json
import re
import shutil
from pathlib import Path

import pytest

from polyhead import DigestMismatch, ManifestError, load
from polyhead.bundle import read
from polyhead.bundle.digest import compute_digest, with_digest

COMBINED = Path(__file__).parents[2] / "data" / "combined"


def change(folder, edit):
    """As a damaged disk or a careless hand does it: the digest stays."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    edit(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def rename_a_label(data):
    data["heads"]["topic"]["labels"][0] = "bulling"


CHANGES = [
    pytest.param(rename_a_label, id="label"),
    pytest.param(lambda data: data["heads"].pop("embedding"), id="a_head_less"),
    pytest.param(lambda data: data["quality"]["topic"].update(fp32=0.99), id="figure"),
    pytest.param(lambda data: data["provenance"].update(made_by="x"), id="provenance"),
    pytest.param(lambda data: data.update(digest="0" * 64), id="digest"),
    pytest.param(lambda data: data.update(digest=data["digest"].upper()), id="digest_in_capitals"),
]


@pytest.mark.parametrize("verify", ["digest", "golden", "none"])
@pytest.mark.parametrize("edit", CHANGES)
def test_a_changed_value_is_refused(bundle_copy, edit, verify):
    change(bundle_copy, edit)
    with pytest.raises(DigestMismatch, match=r"manifest\.json: found SHA-256 .*Copy the bundle"):
        load(bundle_copy, verify=verify)


def test_a_changed_value_of_several_sub_models_is_refused(tmp_path):
    folder = Path(shutil.copytree(COMBINED, tmp_path / "bundle"))
    change(folder, lambda data: data["parts"][0]["encoder"].update(name="x"))
    with pytest.raises(DigestMismatch, match=r"manifest\.json: found SHA-256"):
        load(folder)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        pytest.param(lambda data: data.pop("digest"), "none", id="missing"),
        pytest.param(lambda data: data.update(digest=None), "a NoneType", id="null"),
        pytest.param(lambda data: data.update(digest=["x"]), "a list", id="list"),
    ],
)
def test_a_manifest_without_a_digest_is_to_be_exported_again(bundle_copy, edit, found):
    change(bundle_copy, edit)
    with pytest.raises(ManifestError, match=f"digest: found {found}, .*export the bundle again"):
        load(bundle_copy)


def test_blanks_and_the_order_of_keys_do_not_count(bundle_copy):
    path = bundle_copy / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(dict(reversed(data.items())), indent=7), encoding="utf-8")
    assert read(bundle_copy)


def test_a_manifest_that_is_nested_as_deep_as_json_allows(bundle_copy):
    def nested(depth):
        return "[" * depth + "]" * depth

    path = bundle_copy / "manifest.json"
    text = path.read_text(encoding="utf-8")
    for depth in range(200, 1200, 20):
        changed, count = re.subn(r'"made_by": "[^"]*"', f'"x": {nested(depth)}', text)
        assert count == 1
        path.write_text(changed, encoding="utf-8")
        with pytest.raises((DigestMismatch, ManifestError)):
            read(bundle_copy)


def test_the_digest_is_what_sha256sum_says_of_the_canonical_json():
    data = {"b": [1, 0.5, True, None], "a": "é", "digest": "x"}
    # printf '%s' '{"a":"\u00e9","b":[1,0.5,true,null]}' | sha256sum
    expected = "34e959f1a4e47e1bcd9ba859ce939fecff35d03692afb0d08db49d613bdd8705"
    assert compute_digest(data) == with_digest(data)["digest"] == expected


def test_every_value_counts():
    values = [0, 1, 1.0, True, "1", None, [], [1], {}, "é", "\ud800"]
    assert len({compute_digest({"a": value}) for value in values}) == len(values)
