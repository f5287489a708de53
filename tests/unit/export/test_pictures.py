import numpy as np

from polyhead.bundle import HeadQuality
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
)
UNSCORED = HeadQuality(split="validation", texts=100, agreement=0.99, max_logit_error=0.0)
ERRORS = {"topic": np.geomspace(1e-5, 0.3, 50), "embedding": np.zeros(50)}


def test_a_picture_is_a_png_and_the_same_each_time():
    heads = {"topic": SCORED, "embedding": UNSCORED}
    first = pictures.quality(heads, ERRORS, {})
    assert first.startswith(b"\x89PNG")
    assert pictures.quality(heads, ERRORS, {}) == first
    assert pictures.quality({"topic": UNSCORED, "embedding": UNSCORED}, ERRORS, {}) != first


def test_heads_without_a_figure_and_without_logits_do_not_stop_it():
    nothing = {"embedding": np.empty(0, np.float32)}
    assert pictures.quality({"embedding": UNSCORED}, nothing, {}).startswith(b"\x89PNG")
