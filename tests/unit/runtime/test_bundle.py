import os
import shutil

import pytest

from polyhead import (
    BundleFileMissing,
    BundleNotFound,
    DigestMismatch,
    FormatVersionError,
    ManifestError,
    load,
)
from polyhead.bundle import FileEntry, is_bundle, read

FILES = ["tokenizer.json", "golden.json", "model.onnx"]


def test_a_good_bundle_is_read(bundle):
    found = read(bundle)
    assert [entry.file for entry in found.manifest.files] == [*FILES, "README.md"]
    assert list(found.manifest.heads) == ["topic", "entities", "embedding"]
    assert len(found.golden().examples) == 5


def test_a_path_may_be_a_str(bundle):
    assert read(str(bundle)).manifest == read(bundle).manifest


def test_a_link_to_the_folder_is_followed(bundle, tmp_path):
    (tmp_path / "link").symlink_to(bundle)
    assert read(tmp_path / "link").manifest == read(bundle).manifest


@pytest.mark.parametrize("make", ["absent", "empty", "file", "pipe", "device"])
def test_no_bundle_at_the_path(tmp_path, make):
    path = tmp_path / "place"
    if make in ("empty", "pipe", "device"):
        path.mkdir()
    if make == "pipe":
        os.mkfifo(path / "manifest.json")
    if make == "device":
        (path / "manifest.json").symlink_to("/dev/zero")
    if make == "file":
        path.write_text("x")
    assert not is_bundle(path)
    with pytest.raises(BundleNotFound, match=r"place: no bundle here"):
        read(path)


def at(data, place):
    for key in place:
        data = data[key]
    return data


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param([], r"manifest\.json: unknown key 'extra'", id="manifest"),
        pytest.param(["encoder"], r"encoder: unknown key 'extra'", id="encoder"),
        pytest.param(["tokenizer"], r"tokenizer: unknown key 'extra'", id="file_entry"),
        pytest.param(["graphs", 0], r"graphs\[0\]: unknown key 'extra'", id="graph"),
        pytest.param(["heads", "topic"], r"heads\.topic: unknown key 'extra'", id="head"),
        pytest.param(["quality", "topic"], r"quality\.topic: unknown key 'extra'", id="quality"),
    ],
)
def test_an_unknown_field_is_refused(bundle_copy, edit_json, place, message):
    edit_json(bundle_copy / "manifest.json", lambda data: at(data, place).update(extra=1))
    with pytest.raises(ManifestError, match=message):
        read(bundle_copy)


def test_anything_may_stand_in_provenance(bundle_copy, edit_json):
    edit_json(bundle_copy / "manifest.json", lambda data: data["provenance"].update(extra=[1]))
    assert read(bundle_copy).manifest.provenance["extra"] == [1]


@pytest.mark.parametrize(
    ("place", "values", "message"),
    [
        pytest.param([], {"format": "other"}, "'polyhead-bundle'", id="format"),
        pytest.param([], {"format": "other", "version": 9}, "'polyhead-bundle'", id="foreign"),
        pytest.param([], {"version": 0}, "version: found 0", id="version_zero"),
        pytest.param([], {"version": True}, "version: found True", id="version_bool"),
        pytest.param([], {"version": "1"}, "version: found '1'", id="version_text"),
        pytest.param([], {"graphs": []}, "graphs: empty", id="no_graphs"),
        pytest.param([], {"heads": {}}, "heads: empty", id="no_heads"),
        pytest.param(["graphs", 0], {"heads": ["topics"]}, "unknown heads", id="foreign_head"),
        pytest.param(["graphs", 0], {"precision": "int4"}, "'fp16', 'int8'", id="precision"),
        pytest.param(["heads", "topic"], {"labels": ["a", "a"]}, "one is duplicated", id="labels"),
        pytest.param(["heads", "topic"], {"labels": ["a", ""]}, "found ''", id="empty_label"),
        pytest.param(
            ["heads", "topic"], {"labels": ["a\ud800"]}, "text in Unicode", id="half_label"
        ),
        pytest.param(
            ["heads", "topic"],
            {"labels": ["b", "a", " a"]},
            "one is duplicated: 'a' and ' a' are the same",
            id="labels_with_blanks",
        ),
        pytest.param(
            ["heads", "topic"],
            {"labels": ["b", "caf\u00e9", "cafe\u0301"]},
            "apart from blanks at the edges and Unicode normalisation",
            id="labels_decomposed",
        ),
        pytest.param(["heads", "topic"], {"max_tokens": 2}, "at least 3", id="head_length"),
        pytest.param(["heads", "topic"], {"stride": 24}, "expected 0 to 23", id="stride"),
        pytest.param(["encoder"], {"max_tokens": 1}, "max_tokens: found 1", id="encoder_length"),
        pytest.param(["card"], {"file": "golden.json"}, "duplicate names", id="one_name_twice"),
        pytest.param(["tokenizer"], {"size": 1.5}, "size: found 1.5", id="size"),
    ],
)
def test_a_wrong_value_is_refused(bundle_copy, edit_json, place, values, message):
    edit_json(bundle_copy / "manifest.json", lambda data: at(data, place).update(values))
    with pytest.raises(ManifestError, match=r"manifest\.json") as caught:
        read(bundle_copy)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "x\0y", "manifest.json"],
    ids=ascii,
)
def test_a_name_that_is_no_plain_file_name_is_refused(bundle_copy, edit_json, name):
    with pytest.raises(ValueError, match="expected a plain file name"):
        FileEntry(file=name, sha256="", size=0)
    edit_json(bundle_copy / "manifest.json", lambda data: data["card"].update(file=name))
    with pytest.raises(ManifestError, match=r"manifest\.json: card: file: found"):
        read(bundle_copy)


@pytest.mark.parametrize("key", ["format", "version", "encoder", "graphs", "heads"])
def test_a_missing_field_is_named(bundle_copy, edit_json, key):
    edit_json(bundle_copy / "manifest.json", lambda data: data.pop(key))
    with pytest.raises(ManifestError, match=rf"manifest\.json: .*{key}"):
        read(bundle_copy)


def test_a_newer_format_asks_for_an_upgrade(bundle_copy, edit_json):
    edit_json(bundle_copy / "manifest.json", lambda data: data.update(version=3, new_field=1))
    with pytest.raises(FormatVersionError, match="version 3; this polyhead reads up to 2"):
        read(bundle_copy)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}'],
    ids=["empty", "cut_short", "list", "null", "no_utf8", "too_deep", "nan"],
)
def test_a_damaged_manifest_is_refused(bundle_copy, content):
    (bundle_copy / "manifest.json").write_bytes(content)
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        read(bundle_copy)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(bundle_copy, file):
    (bundle_copy / file).unlink()
    with pytest.raises(BundleFileMissing, match=f"{file}: found nothing"):
        read(bundle_copy)


@pytest.mark.parametrize("file", FILES)
def test_a_changed_byte_is_found(bundle_copy, file):
    content = bytearray((bundle_copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle_copy / file).write_bytes(content)
    with pytest.raises(DigestMismatch, match=f"{file}: found SHA-256"):
        read(bundle_copy)


@pytest.mark.parametrize("file", FILES)
def test_a_file_cut_short_is_found(bundle_copy, file):
    content = (bundle_copy / file).read_bytes()
    (bundle_copy / file).write_bytes(content[:-1])
    with pytest.raises(DigestMismatch, match=rf"{file}: found [\d,]+ bytes, expected"):
        read(bundle_copy)


@pytest.mark.parametrize("file", [*FILES, "README.md", "manifest.json"])
def test_a_link_is_refused(bundle_copy, tmp_path, file):
    shutil.move(bundle_copy / file, tmp_path / "elsewhere")
    (bundle_copy / file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleFileMissing, match=f"{file}: (found )?a link"):
        read(bundle_copy)


@pytest.mark.parametrize("verify", ["digest", "golden", "none"])
@pytest.mark.parametrize("change", ["edited", "gone"])
def test_a_model_card_is_the_owners_to_edit(bundle_copy, verify, change):
    card = bundle_copy / "README.md"
    card.write_text(f"---\nlicense: mit\n---\n{card.read_text()}")
    if change == "gone":
        card.unlink()
    assert "README.md" in {entry.file for entry in read(bundle_copy).manifest.files}
    load(bundle_copy, verify=verify, on_overflow="truncate").close()


def test_a_folder_in_place_of_a_file_is_refused(bundle_copy):
    (bundle_copy / "README.md").unlink()
    (bundle_copy / "README.md").mkdir()
    with pytest.raises(BundleFileMissing, match=r"README\.md: found no file"):
        read(bundle_copy)


def test_a_pipe_in_place_of_a_file_is_refused(bundle_copy):
    (bundle_copy / "golden.json").unlink()
    os.mkfifo(bundle_copy / "golden.json")
    with pytest.raises(BundleFileMissing, match=r"golden\.json: found no file"):
        read(bundle_copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda data: data.update(extra=1), "unknown key 'extra'", id="unknown_key"),
        pytest.param(lambda data: data.update(examples=[]), "examples: empty", id="no_examples"),
        pytest.param(lambda data: data.pop("tolerance"), "'tolerance' is missing", id="missing"),
        pytest.param(
            lambda data: data["examples"][1].update(ids=["x"]),
            r"examples\[1\]: ids\[0\]: found 'x'",
            id="id_of_another_type",
        ),
    ],
)
def test_a_golden_file_of_another_form_is_refused(bundle_copy, edit_json, reseal, change, message):
    edit_json(bundle_copy / "golden.json", change)
    reseal(bundle_copy)
    with pytest.raises(ManifestError, match=rf"golden\.json: .*{message}"):
        read(bundle_copy).golden()
