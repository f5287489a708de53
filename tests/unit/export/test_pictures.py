from dataclasses import replace

from polyhead.bundle import Attempt, Gate, HeadQuality
from polyhead_export import pictures

SCORED = HeadQuality(
    split="validation",
    texts=100,
    metric="accuracy",
    fp32=0.9,
    exported=0.88,
    agreement=0.98,
    max_logit_error=0.3,
    drop_interval=(-1.0, 4.0),
    changed=0.02,
    changed_interval=(0.004, 0.06),
)
UNSCORED = HeadQuality(split="validation", texts=100, agreement=0.99, max_logit_error=0.0)
GATE = Gate(
    max_drop=0.5,
    max_flips=1.0,
    attempts=(Attempt(name="fp32", drop={}, changed={}, failed=()),),
)


def test_a_picture_is_a_png_and_the_same_each_time():
    heads = {"topic": SCORED, "embedding": UNSCORED}
    first = pictures.quality(heads, GATE, {})
    assert first.startswith(b"\x89PNG")
    assert pictures.quality(heads, GATE, {}) == first
    assert pictures.quality({"topic": UNSCORED, "embedding": UNSCORED}, GATE, {}) != first


def test_the_limits_and_the_changed_decisions_are_drawn():
    heads = {"topic": SCORED}
    first = pictures.quality(heads, GATE, {})
    for other in (replace(GATE, max_flips=2.0), replace(GATE, max_drop=2.0)):
        assert pictures.quality(heads, other, {}) != first
    assert pictures.quality({"topic": replace(SCORED, changed=0.03)}, GATE, {}) != first


def test_heads_without_a_figure_and_no_heads_do_not_stop_it():
    for heads in ({"embedding": UNSCORED}, {}):
        assert pictures.quality(heads, GATE, {}).startswith(b"\x89PNG")
