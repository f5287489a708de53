"""manifest.json of a bundle of several sub-models: format version 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from polyhead.bundle.head_spec import HeadSpec
from polyhead.bundle.manifest import FileEntry, Manifest

COLLECTION = 2

ROLES = STUDENT, TEACHER = "student", "teacher"
"""The two sub-models of a cascade, in their order."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Several sub-models in one folder.

    A sub-model is all that a bundle of one model says of itself. Files of equal content are in
    the folder once, such as a tokenizer that several sub-models have. A graph of several has the
    outputs of all their heads, and no others.

    Attributes:
        format: always ``"polyhead-bundle"``.
        version: always 2; bundles of one model have version 1.
        card: the model card of the whole.
        parts: at least one, in the order of results.
        provenance: who put them together, for people.
        cascade: of a student and a teacher, by head the confidence from which the student's answer
            stands, 0 to 1; other heads that both have are the teacher's. None for sub-models whose
            heads are side by side.
    """

    format: Literal["polyhead-bundle"]
    version: int
    card: FileEntry
    parts: tuple[Manifest, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    cascade: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts: empty, expected at least one.")
        heads = [name for part in self.parts for name in part.heads]
        if self.cascade is not None:
            if len(self.parts) != len(ROLES):
                raise ValueError(f"cascade: found {len(self.parts)} parts, expected two.")
            check_cascade(self.cascade, *(part.heads for part in self.parts))
        elif len(set(heads)) != len(heads):
            raise ValueError(f"parts: one head is duplicated in {heads}.")
        known: dict[str, FileEntry] = {self.card.file: self.card}
        for entry in (entry for part in self.parts for entry in part.files):
            other = known.setdefault(entry.file, entry)
            if (other.sha256, other.size) != (entry.sha256, entry.size):
                raise ValueError(f"files: {entry.file} is duplicated with different content.")


def check_cascade(
    thresholds: Mapping[str, float],
    student: Mapping[str, HeadSpec],
    teacher: Mapping[str, HeadSpec],
) -> None:
    """Refuse thresholds that are none, or for heads that are not the same in both models.

    Raises:
        ValueError: says which.
    """
    if not thresholds:
        raise ValueError("cascade: empty, expected the threshold of at least one head.")
    for name, least in thresholds.items():
        if not 0 <= least <= 1:
            raise ValueError(f"cascade: found {least} for the head {name!r}, expected 0 to 1.")
        for role, heads in zip(ROLES, (student, teacher), strict=True):
            if name not in heads:
                raise ValueError(
                    f"cascade: the {role} has no head {name!r}; it has {', '.join(heads)}."
                )
        for what in ("kind", "input", "labels"):
            own, other = getattr(student[name], what), getattr(teacher[name], what)
            if own != other:
                raise ValueError(
                    f"cascade: the {what} of the head {name!r} differ: {str(own)[:200]} of the"
                    f" student, {str(other)[:200]} of the teacher."
                )
