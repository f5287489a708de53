"""Heads that write, as the command line and batch jobs show them; and in a forked process."""

import json
import os

import pytest

from polyhead import load

TEXT = "The parcel was late. Anna lives in Oslo."


def test_run_writes_json_lines(polyhead, writing, writer_engine):
    words = (
        "--heads",
        "short,topic",
        "--option",
        "short.beams=2",
        "--option",
        "short.max_tokens=5",
    )
    done = polyhead("run", writing, TEXT, *words)
    assert (done.returncode, done.stderr) == (0, "")
    options = {"short": {"beams": 2, "max_tokens": 5}}
    expected = writer_engine(TEXT, heads=["short", "topic"], options=options).to_dict()
    assert json.loads(done.stdout) == json.loads(json.dumps(expected))


def test_run_writes_a_table(polyhead, writing, writer_engine, tmp_path):
    target = tmp_path / "answers.csv"
    done = polyhead("run", writing, TEXT, "--heads", "short", "--output", target)
    assert done.returncode == 0, done.stderr
    header, row = target.read_text(encoding="utf-8").splitlines()
    assert header == "text,short,short_score,short_tokens,short_finished,short_truncated"
    assert writer_engine(TEXT)["short"].text in row


def test_a_wrong_option_is_told(polyhead, writing):
    done = polyhead("run", writing, TEXT, "--option", "short.beams=99")
    assert done.returncode == 1
    assert "beams=99: expected at most 64" in done.stderr


def test_inspect_and_verify_name_the_graphs(polyhead, writing):
    shown = polyhead("inspect", writing).stdout
    assert "fp32 graph, cross of the decoder of short" in shown
    assert "fp32 graph, step of the decoder of copy" in shown
    done = polyhead("verify", writing)
    assert done.returncode == 0, done.stdout + done.stderr


def test_columns_of_batch_jobs(writer_engine):
    import pyarrow as pa

    from polyhead.serving.jobs.columns import ResultColumns

    columns = ResultColumns(writer_engine, pair=False, heads=["short", "copy"])
    predictions = [writer_engine(TEXT), None]
    table = pa.Table.from_arrays(columns.arrays(predictions), schema=columns.schema)
    assert {field.name: field.type for field in table.schema if "short" in field.name} == {
        "short": pa.string(),
        "short_score": pa.float32(),
        "short_tokens": pa.int32(),
        "short_finished": pa.bool_(),
        "short_truncated": pa.bool_(),
    }
    row = predictions[0].to_row()
    found = table.to_pylist()
    assert found[0]["short"] == row["short"]
    assert found[0]["short_score"] == pytest.approx(row["short_score"])
    assert found[1]["short"] is None


def test_info_names_what_writes(writer_engine):
    found = writer_engine.info()["decoders"]
    assert found["short"]["step"] == "short.step.onnx"
    assert found["copy"]["step"] == "copy.step.onnx"
    assert found["copy"]["cross"] == "short.cross.onnx"  # an equal file is opened once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_writes_the_same(writing):
    with load(writing, threads=2) as engine:
        expected = engine(TEXT)["short"]
        pid = os.fork()
        if pid == 0:
            same = False
            try:
                same = engine.predict([TEXT, "anna"])[0]["short"] == expected
            finally:
                os._exit(0 if same else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert engine(TEXT)["short"] == expected


def test_a_part_of_the_heads_opens_the_graphs_of_these_only(writing):
    with load(writing, heads=["topic"]) as engine:
        assert "decoders" not in engine.info()
    with load(writing, heads=["short"]) as engine:
        assert list(engine.info()["decoders"]) == ["short"]
        assert list(engine(TEXT)) == ["short"]
    with load(writing, verify="golden") as engine:
        engine.warmup()
