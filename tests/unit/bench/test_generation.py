"""`make bench-generation`: that its engines answer the same, on a tiny model, and its table."""

import json
import sys
from pathlib import Path

import pytest

from polyhead_bench import generation
from polyhead_bench.convert import writing
from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.generation import FP32, INT8, ORIGINAL, PEER, TimedText

SHAPE = {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    writing.make(folder, **SHAPE)
    return folder


def test_the_engines_that_are_here_are_measured_and_the_peer_is_left_out(
    models, tmp_path, monkeypatch, capsys
):
    words = ["generation", "--models", models, "--environments", tmp_path]
    words += ["--texts", "2", "--rounds", "2", "--cpu-time", "--json"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    generation.main()  # a tiny model is no faster: the limits are of another
    found = json.loads(capsys.readouterr().out)
    rows = {what: (measured, verdict) for what, measured, _, verdict in found["rows"]}
    left_out = rows[f"source of 64 tokens: {INT8} over {PEER}"]
    assert "polyhead bench setup ctranslate2" in left_out[0]
    assert left_out[1] == ""
    assert rows[f"{FP32}: tokens that {ORIGINAL} wrote, share"][1] == "pass"
    assert float(rows[f"{INT8}: tokens that {ORIGINAL} wrote, share"][0]) > 0.5
    assert set(found["ms"]) == {"64", "128"}
    times = found["ms"]["64"]
    assert set(times) == {INT8, FP32, ORIGINAL}
    assert all(len(own) == 2 and min(own) > 0 for own in times.values())


def test_an_engine_that_ends_says_why(models):
    with (
        pytest.raises(PeerFault, match="nowhere"),
        generation.writer("polyhead", models / "nowhere", Path(sys.executable), 1, cpu=False),
    ):
        pass


def test_each_text_goes_to_all_in_turns_and_a_short_answer_is_refused():
    asked = []

    def answering(name, tokens=32):
        def write(text):
            asked.append((name, text))
            return TimedText("", tokens, 5.0 + len(text))

        return write

    writers = {"a": answering("a"), "b": answering("b")}
    found = generation.measured(writers, ["x", "yy", "z"], 2)
    assert found == {"a": [6.0, 6.0], "b": [6.0, 6.0]}
    assert asked[:2] == [("a", "x"), ("b", "x")]
    assert asked[6:8] == [("b", "x"), ("a", "x")]
    with pytest.raises(PeerFault, match="b wrote 31 tokens, expected 32"):
        generation.measured({**writers, "b": answering("b", 31)}, ["x"], 1)


def test_ratios_are_held_against_the_goals():
    times = {INT8: [10.0, 12.0], FP32: [30.0, 30.0], PEER: [10.0, 10.0], ORIGINAL: [20.0, 24.0]}
    first, second, shown = generation.compared(64, times, "")
    assert first[1:] == ("1.10 (1.00 to 1.20)", "<= 1.3", "pass")
    assert second[1:] == ("0.50 (0.50 to 0.50)", "<= 0.35", "fail")
    assert shown[1] == f"{INT8} 11, {FP32} 30, {PEER} 10, {ORIGINAL} 22"


def test_other_tokens_in_fp32_fail():
    for answer, verdict in (("a " * 32, "pass"), ("a " * 31 + "b", "fail")):
        writers = {name: lambda _: TimedText("a " * 32, 32, 1.0) for name in (INT8, FP32, ORIGINAL)}
        writers[FP32] = lambda _, answer=answer: TimedText(answer, 32, 1.0)
        rows = {row[0].partition(":")[0]: row for row in generation.checked(writers, ["t"])}
        assert rows[FP32][-1] == verdict
        assert rows[INT8][1] == "1.000"


def test_a_command_that_fails_is_told(tmp_path):
    with pytest.raises(BenchError, match="polyhead import"):
        writing._polyhead("import", tmp_path / "nothing", "-o", tmp_path / "out")
