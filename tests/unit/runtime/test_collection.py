"""A bundle of several sub-models is read as strictly as one."""

import pytest

from polyhead import DigestMismatch, GraphError, ManifestError, load
from polyhead.bundle import read, read_parts


def test_it_has_its_sub_models(collection):
    first, second = read_parts(collection)
    assert list(first.manifest.heads) == ["a-topic"]
    assert list(second.manifest.heads) == ["b-sentiment", "b-embedding"]
    assert first.manifest.graphs[0].file == second.manifest.graphs[0].file


def test_a_reader_of_one_model_says_that_there_are_several(collection):
    with pytest.raises(ManifestError, match="a bundle of 2 sub-models, expected one"):
        read(collection)


def test_only_the_asked_sub_model_is_loaded(collection):
    with load(collection, heads=["b-sentiment"]) as engine:
        assert list(engine("Anna lives in Oslo")) == ["b-sentiment"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data.update(parts=[]), "parts: empty"),
        (lambda data: data["parts"].append(data["parts"][0]), "parts: one head"),
        (lambda data: data["parts"][0].update(more=1), "unknown key 'more'"),
        (
            lambda data: data["parts"][1]["tokenizer"].update(size=1),
            "tokenizer.json .* with different content",
        ),
    ],
    ids=["none", "twice", "unknown", "files"],
)
def test_a_changed_manifest_is_refused(collection_copy, edit_json, change, match):
    edit_json(collection_copy / "manifest.json", change)
    with pytest.raises(ManifestError, match=match):
        load(collection_copy)


def test_a_changed_file_is_refused(collection_copy):
    file = collection_copy / "model.fp32.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(DigestMismatch, match=r"model\.fp32\.onnx"):
        load(collection_copy)


def test_an_output_that_no_part_declares_is_refused(collection_copy, edit_json):
    def change(data):
        part = data["parts"][1]
        del part["heads"]["b-sentiment"]
        part["graphs"][0]["heads"].remove("b-sentiment")
        part["quality"].pop("b-sentiment", None)

    edit_json(collection_copy / "manifest.json", change)
    with pytest.raises(GraphError, match="its outputs are"):
        load(collection_copy)
