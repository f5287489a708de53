"""A text of a million characters works in bounded memory; ten million are an error of the tree."""

import os
import subprocess
import sys

import pytest

from polyhead import TextTooLong, load

SCRIPT = """
import resource, sys, polyhead
def peak():  # MiB; Linux counts in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
engine = polyhead.load(sys.argv[1], threads=1, batch_tokens=1024)
text = "the parcel was late . " * 50_000
before = peak()
for kind, item in (("text", text[:1_000_000]), ("pair", ("who was late?", text[:200_000]))):
    found = engine(item)
    assert list(found) == [n for n, s in engine.heads.items() if s.input == kind]
    assert found.windows > 1_000 and not found.truncated
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others count memory in other units")
def test_a_million_characters_take_some_hundred_megabytes(many_heads):
    found = subprocess.check_output(
        [sys.executable, "-c", SCRIPT, many_heads],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    )
    assert float(found) < 400


@pytest.mark.parametrize("item", ["x" * 10_000_000, ("x", "é" * 10_000_000)], ids=["text", "pair"])
@pytest.mark.parametrize("on_overflow", ["window", "truncate", "error"])
def test_ten_million_characters_are_refused_with_numbers(many_heads, item, on_overflow):
    with (
        load(many_heads, on_overflow=on_overflow) as engine,
        pytest.raises(TextTooLong, match=r"input 1: 10,000,00\d characters, at most 2,000,000"),
    ):
        engine.predict(["fine" if isinstance(item, str) else ("a", "b"), item])


def test_the_limit_counts_both_texts_of_a_pair(many_heads):
    with load(many_heads, max_characters=10) as engine:
        assert engine(("12345", "12345"))
        with pytest.raises(TextTooLong, match="11 characters"):
            engine(("12345", "123456"))


def test_without_a_limit_any_length_is_read(many_heads):
    with load(many_heads, max_characters=None, batch_tokens=4096) as engine:
        assert engine("x" * 2_000_001).windows == 1  # one unknown word
