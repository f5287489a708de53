"""From which confidence the answers of a small model stand, so that few differ from a large one's.

A student answers, and texts of which it is not sure go to its teacher. Of each head that both have,
and whose results carry one confidence, the threshold is the smallest one that changes at most so
many of the teacher's decisions. Texts need no labels: both bundles answer them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyhead import HeadClash, HeadSpec, InvalidSetting, load
from polyhead.bundle import read
from polyhead.bundle.collection import check_cascade
from polyhead.heads import decoder
from polyhead.text.encoding import Input
from polyhead_export.errors import GateError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CascadeHead:
    """A head of a student and its teacher, as measured on texts.

    Attributes:
        threshold: the confidence from which the student's answer stands; None where no threshold
            holds the limit, and the teacher answers all.
        texts: how many it was chosen on.
        asked: share of them for which the teacher is asked, 0 to 1.
        changed: share of them whose decision is not the teacher's, 0 to 1.
    """

    threshold: float | None
    texts: int
    asked: float
    changed: float


def cascade_heads(
    student: tuple[Path, str],
    teacher: tuple[Path, str],
    texts: Sequence[Input],
    *,
    max_flips: float,
) -> dict[str, CascadeHead]:
    """The heads of a cascade by name, each with its threshold.

    Args:
        student: folder of a bundle of one model, and what is put before the names of its heads.
        teacher: the same of the large model.
        texts: such as will be asked, not trained on; each as the heads read it, a text or a pair.
        max_flips: percent of a head's decisions that may differ from the teacher's, above 0.

    Raises:
        GateError: when there is no head whose threshold holds the limit.
        HeadClash: when a head has other labels in the two models, or is of another kind.
        BundleError: when a bundle cannot be read or trusted, or is of several sub-models.
    """
    if not 0 < max_flips <= 100:
        raise InvalidSetting(f"max_flips={max_flips!r}: expected percent, above 0 to 100.")
    specs = [
        {f"{prefix}{name}": spec for name, spec in read(path).manifest.heads.items()}
        for path, prefix in (student, teacher)
    ]
    names = _shared(*specs)
    found: dict[str, CascadeHead] = {}
    for kind in ("text", "pair"):
        own = [text for text in texts if ("text" if isinstance(text, str) else "pair") == kind]
        heads = [name for name in names if specs[0][name].input == kind]
        if heads:
            found |= _measured({n: specs[0][n] for n in heads}, student, teacher, own, max_flips)
    if all(head.threshold is None for head in found.values()):
        raise GateError(
            f"no threshold holds at most {max_flips:g}% of changed decisions on these texts:"
            f" {', '.join(f'{name} ({head.texts:,})' for name, head in found.items())}. Give more"
            " texts, allow more with --max-flips, or leave the student out."
        )
    return found


def smallest_threshold(
    confidences: NDArray[np.float64], differs: NDArray[np.bool_], most: float
) -> float | None:
    """The smallest of the confidences from which a student's answers can stand; None for none.

    With k of n texts that would be decided otherwise, ``(k + 1) / (n + 1) <= most``: the share that
    is to be expected of further texts of this kind is then at most `most`. The plain share
    ``k / n`` would be a guess in the student's favour, as the threshold is chosen on these texts.
    Angelopoulos et al. 2024, Conformal Risk Control, theorem 1 (arXiv 2208.02814).

    Args:
        confidences: of the student, one a text.
        differs: whether its decision is another than the teacher's.
        most: share of changed decisions, 0 to 1.
    """
    order = np.argsort(-confidences, kind="stable")
    falling, changed = confidences[order], np.cumsum(differs[order])
    ends = np.append(falling[1:] != falling[:-1], True)[: len(falling)]  # equal ones go together
    holds = ends & (changed + 1 <= most * (len(falling) + 1) * (1 + 1e-12))
    return float(falling[holds][-1]) if holds.any() else None


def texts_needed(max_flips: float) -> int:
    """Fewest texts with which a threshold can hold the limit, in percent: 199 for 0.5."""
    return math.ceil(100 / max_flips - 1e-9) - 1


def _shared(student: Mapping[str, HeadSpec], teacher: Mapping[str, HeadSpec]) -> list[str]:
    """Names of the heads that can be in a cascade."""
    names = [
        name
        for name in student
        if name in teacher
        and any(hasattr(decoder(name, own[name]), "confidence") for own in (student, teacher))
    ]
    if not names:
        raise GateError(
            f"the student has {', '.join(student)} and the teacher {', '.join(teacher)}: none is in"
            " both and of a kind with a confidence (classification, multilabel). Name them alike"
            " with --prefix, or combine without --cascade."
        )
    try:
        check_cascade(dict.fromkeys(names, 1.0), student, teacher)
    except ValueError as problem:
        raise HeadClash(
            f"{problem} Give the head of one of them another name with --prefix."
        ) from problem
    return names


def _measured(
    specs: Mapping[str, HeadSpec],
    student: tuple[Path, str],
    teacher: tuple[Path, str],
    texts: Sequence[Input],
    max_flips: float,
) -> dict[str, CascadeHead]:
    """Heads that read one kind of inputs, on such inputs."""
    needed = texts_needed(max_flips)
    if len(texts) < needed:
        logger.warning(
            "%s: %s texts; at least %s are needed to hold --max-flips %g. Labels are not.",
            ", ".join(specs),
            f"{len(texts):,}",
            f"{needed:,}",
            max_flips,
        )
    answers = []
    for path, prefix in (student, teacher):
        with load(path, prefix=[prefix], heads=specs) as engine:
            answers.append(engine.predict(texts))
    found = {}
    for name, spec in specs.items():
        confidence = getattr(decoder(name, spec), "confidence")  # noqa: B009, not of all decoders
        sure = np.array([confidence(each[name]) for each in answers[0]], dtype=np.float64)
        pairs = zip(*answers, strict=True)
        differs = np.array([a[name].decision != b[name].decision for a, b in pairs], dtype=bool)
        least = smallest_threshold(sure, differs, max_flips / 100)
        stands = np.zeros(len(texts), dtype=bool) if least is None else sure >= least
        count = max(1, len(texts))
        found[name] = CascadeHead(
            least,
            len(texts),
            asked=float((~stands).sum()) / count,
            changed=float((stands & differs).sum()) / count,
        )
    return found
