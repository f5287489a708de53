"""Batches of other engines: the same kind comes back, with columns of answers."""

import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from polyhead import BundleNotFound, InputError, InvalidSetting
from polyhead.serving import Worker

TEXTS = ["The parcel was late.", None, "Anna lives in Oslo", "", 7]
BAD = [1, 4]
HEADS = ("topic", "entities", "embedding")


@pytest.fixture(scope="module")
def worker(many_heads):
    return Worker(many_heads, heads=HEADS)


@pytest.fixture(scope="module")
def expected(engine_of_many_heads):
    return [
        None if n in BAD else engine_of_many_heads(text, heads=HEADS)
        for n, text in enumerate(TEXTS)
    ]


def check_labels(found, expected):
    labels = [None if p is None else p["topic"].label for p in expected]
    assert [None if value != value else value for value in found] == labels


def test_a_dict_of_arrays(worker, expected):
    batch = {"id": np.arange(5), "text": np.array(TEXTS, dtype=object)}
    found = worker(batch)
    assert [*found] == ["id", "text", "topic", "topic_score", "entities", "embedding", "error"]
    assert found["id"] is batch["id"]
    check_labels(found["topic"], expected)
    assert found["topic_score"].dtype == found["embedding"].dtype == np.float32
    assert found["embedding"].shape == (5, 8)
    for row, prediction in enumerate(expected):
        if prediction is None:
            assert np.isnan(found["embedding"][row]).all()
            assert np.isnan(found["topic_score"][row])
            assert found["entities"][row] is None
            assert "input" not in found["error"][row].partition(" ")[0]
        else:
            np.testing.assert_array_equal(found["embedding"][row], prediction["embedding"].vector)
            spans = [(s["start"], s["end"]) for s in found["entities"][row]]
            assert spans == [(s.start, s.end) for s in prediction["entities"].spans]
            assert found["error"][row] is None


@pytest.mark.parametrize("make", [pa.Table, pa.RecordBatch])
def test_arrow(worker, expected, make):
    texts = [None if n in BAD else text for n, text in enumerate(TEXTS)]
    batch = make.from_pydict({"id": range(5), "text": texts})
    found = worker(batch)
    assert type(found) is make
    assert found.schema == pa.schema([*batch.schema, *worker.schema])
    check_labels(found.column("topic").to_pylist(), expected)
    assert found.column("error").is_null().to_pylist() == [n not in BAD for n in range(5)]


def test_pandas_with_an_index_of_its_own(worker, expected):
    pandas = pytest.importorskip("pandas", reason="not in the lean environment")
    batch = pandas.DataFrame({"id": range(5), "text": TEXTS}, index=[9, 8, 7, 6, 5])
    found = worker(batch)
    assert [*found.index] == [*batch.index]
    assert [*batch.columns] == ["id", "text"]
    check_labels(found["topic"], expected)
    np.testing.assert_array_equal(found["embedding"][9], expected[0]["embedding"].vector)


@pytest.mark.parametrize(
    "batch",
    [{"text": np.array([], dtype=object)}, pa.table({"text": pa.array([], pa.string())})],
    ids=["dict", "table"],
)
def test_a_batch_without_rows_has_the_columns(worker, batch):
    found = worker(batch)
    names = [*found] if isinstance(found, dict) else found.schema.names
    assert names == ["text", *worker.schema.names]
    if isinstance(found, dict):
        assert found["embedding"].shape == (0, 8)


def test_pairs(many_heads, engine_of_many_heads):
    worker = Worker(many_heads, pair=["q", "c"], heads="answer", prefix="my_")
    found = worker({"q": np.array(["who?", "who?"]), "c": np.array(["Anna lives", "in Oslo"])})
    for row, context in enumerate(("Anna lives", "in Oslo")):
        answer = engine_of_many_heads(("who?", context))["answer"]
        assert found["my_answer"][row] == answer.text
        assert found["my_answer_start"][row] == answer.start


def test_lists_of_one_length_stay_lists(many_heads):
    """As numpy would make a matrix of them."""
    worker = Worker(many_heads, heads="flags")
    found = worker({"text": np.array(["a", "b", "c"])})["flags"]
    assert found.shape == (3,)
    assert all(isinstance(each, list) for each in found)


def test_it_is_pickled_without_its_engine_and_answers_elsewhere(worker, many_heads, expected):
    worker({"text": np.array(["a"])})
    content = pickle.dumps(worker)
    assert len(content) < 1_000
    code = (
        "import pickle, sys, numpy\n"
        "worker = pickle.load(sys.stdin.buffer)\n"
        "found = worker({'text': numpy.array(['The parcel was late.'])})\n"
        "sys.stdout.write(found['topic'][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"],
        input=content,
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == expected[0]["topic"].label


def test_nothing_is_loaded_before_the_first_batch(tmp_path):
    worker = Worker(tmp_path / "none")
    with pytest.raises(BundleNotFound):
        worker({"text": np.array(["a"])})


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"txt": np.array(["a"])}, r"no column 'text'; there is 'txt'. Did you mean 'txt'\?"),
        ({"text": np.array(["a"]), "topic": np.array(["a"])}, "the column 'topic' is there"),
        ({"text": np.array(["a"]), "error": np.array(["a"])}, "the column 'error' is there"),
        (["a"], "found list, expected a dict of arrays"),
    ],
    ids=["missing", "covered", "error", "list"],
)
def test_a_batch_that_does_not_fit(worker, batch, said):
    with pytest.raises(InputError, match=said):
        worker(batch)


@pytest.mark.parametrize("pair", ["qc", ["q"], ["q", "c", "d"]])
def test_a_pair_is_two_columns(pair):
    with pytest.raises(InvalidSetting, match="expected the names of two columns"):
        Worker("bundle", pair=pair)
