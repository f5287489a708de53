"""The heads of two bundles that can be a cascade, and their thresholds by what both answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyhead import HeadClash, HeadSpec, InvalidSetting, load
from polyhead.bundle import read
from polyhead.bundle.collection import check_cascade
from polyhead.text.encoding import Input
from polyhead_export.errors import GateError
from polyhead_models.cascade import CascadeHead, chosen, confidences, confident, texts_needed

logger = logging.getLogger(__name__)


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


def _shared(student: Mapping[str, HeadSpec], teacher: Mapping[str, HeadSpec]) -> list[str]:
    """Names of the heads that can be in a cascade."""
    names = [
        name
        for name in student
        if name in teacher and any(confident(name, own[name]) for own in (student, teacher))
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
        small, large = ([each[name] for each in side] for side in answers)
        found[name] = chosen(confidences(name, spec, small), small, large, max_flips)
    return found
