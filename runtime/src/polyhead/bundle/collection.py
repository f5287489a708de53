"""manifest.json of a bundle of several sub-models: format version 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from polyhead.bundle.manifest import FileEntry, Manifest

COLLECTION = 2


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
    """

    format: Literal["polyhead-bundle"]
    version: int
    card: FileEntry
    parts: tuple[Manifest, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts: empty, expected at least one.")
        heads = [name for part in self.parts for name in part.heads]
        if len(set(heads)) != len(heads):
            raise ValueError(f"parts: one head is duplicated in {heads}.")
        known: dict[str, FileEntry] = {self.card.file: self.card}
        for entry in (entry for part in self.parts for entry in part.files):
            other = known.setdefault(entry.file, entry)
            if (other.sha256, other.size) != (entry.sha256, entry.size):
                raise ValueError(f"files: {entry.file} is duplicated with different content.")
