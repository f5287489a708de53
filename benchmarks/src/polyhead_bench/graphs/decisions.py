"""What int8 changed of the answers: decisions on test texts, and what each head's figure lost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polyhead import load
from polyhead.bundle import HeadQuality, read
from polyhead_bench.checks import Check, at_most, attempt, unlimited
from polyhead_bench.graphs import exporting

CHANGED: Mapping[str, Mapping[str, float]] = {
    "sst2": {"sentiment": 0.8},
    "snips": {"intent": 0.3},
    "clinc150": {"intent": 1.0},
}
"""Most percent of decisions that may change: by recipe, by head."""
DROPPING = "assistant"
"""The recipe whose drops have a limit."""
_MOST = 0.3
_DROP_LIMIT = f"<= {_MOST:g} points, interval not above 0"

Found = tuple[list[Check], dict[str, Any]]


def recipe(checkpoint: Path, note: Callable[[str], None]) -> Found:
    """Export a checkpoint; what its heads lost, and decisions that changed on its test split.

    Args:
        checkpoint: the name of its folder is the recipe's.
        note: called with short remarks for whoever watches.

    Raises:
        BenchError: when it cannot be exported, such as by the gate's refusal.
    """
    name = checkpoint.name
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / name
        note(f"{name}: exporting")
        # Its limit is on figures. Answers with near ties change whatever is done: of 200 questions
        # 8.5% with a scale for each token everywhere, and 4.5% with the worst linears in float.
        free = ["--max-flips", "100"] if name == DROPPING else []
        exporting.measured(["export", checkpoint, "-o", bundle, *free])
        checks = drops(bundle, limited=name == DROPPING)
        limits = CHANGED.get(name, {})
        listed = _changed_rows(name) or [(f"{name}: decisions changed", "")]
        more, figures = attempt(lambda: decisions(checkpoint, bundle, limits, note), listed)
    return [*checks, *more], figures


def rows(name: str) -> list[tuple[str, str]]:
    """Names and limits of what `recipe` measures of a recipe; one row where there is no limit."""
    if name == DROPPING:
        return [(f"{name}: drop of each head", _DROP_LIMIT)]
    return _changed_rows(name) or [(f"{name}: export", "")]


def decisions(
    checkpoint: Path, bundle: Path, limits: Mapping[str, float], note: Callable[[str], None]
) -> Found:
    """Texts of the test split that get another decision than by PyTorch, in percent by head.

    A text is counted once, however many spans or labels changed; the export's gate counts each of
    those.

    Args:
        checkpoint: remembers its test split.
        bundle: exported from it.
        limits: percent by head; other heads are told without a limit.
        note: called with short remarks for whoever watches.
    """
    from polyhead_models import checkpoint as checkpoints
    from polyhead_models.data import examples as data
    from polyhead_models.evaluation import inputs

    trained = checkpoints.load(checkpoint)
    texts = inputs(data.load(trained.description.config, "test"))
    note(f"{checkpoint.name}: asking both models {len(texts):,} test texts")
    before = trained.engine().predict(texts)
    with load(bundle) as engine:
        after = engine.predict(texts)
    checks, found = [], {}
    for head in trained.model.specs:
        pairs = [(a[head], b[head]) for a, b in zip(after, before, strict=True) if head in a]
        changed = sum(a.decision != b.decision for a, b in pairs)
        found[head] = {"texts": len(pairs), "changed": changed}
        name = f"{checkpoint.name}: decisions changed, {head}"
        checks.append(_changed(name, changed, len(pairs), limits.get(head)))
    return checks, found


def drops(bundle: Path, *, limited: bool) -> list[Check]:
    """What each head with a figure lost on its validation texts, as the manifest tells.

    An interval wholly below 0 is a gain, and within the limit.

    Args:
        bundle: its folder names the rows.
        limited: whether the limit is for this bundle; without it the drops are shown.
    """
    checks = []
    for head, quality in read(bundle).manifest.quality.items():
        if quality.drop is None:
            continue
        name, found = f"{bundle.name}: drop of {head}", quality.drop_text
        if limited:
            passed = quality.drop <= _MOST and _not_above_zero(quality)
            checks.append(Check(name=name, found=found, limit=_DROP_LIMIT, passed=passed))
        else:
            checks.append(unlimited(name, found))
    return checks


def _changed(name: str, changed: int, texts: int, most: float | None) -> Check:
    if not texts:
        limit = "" if most is None else _percent(most)
        return Check(name=name, found=None, limit=limit, passed=None, note="no test texts")
    percent, note = 100 * changed / texts, f"{changed:,} of {texts:,} texts"
    if most is None:
        return unlimited(name, f"{percent:.2f} %", note)
    return at_most(name, percent, most, "%", note)


def _not_above_zero(quality: HeadQuality) -> bool:
    return quality.drop_interval is not None and quality.drop_interval[0] <= 0


def _changed_rows(name: str) -> list[tuple[str, str]]:
    limits = CHANGED.get(name, {})
    return [(f"{name}: decisions changed, {head}", _percent(most)) for head, most in limits.items()]


def _percent(most: float) -> str:
    return f"<= {most:g} %"
