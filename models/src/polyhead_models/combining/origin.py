"""Where the heads of a checkpoint came from, and what was measured there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polyhead_models.checkpoint import Description

PARTS = "parts"

Names = Mapping[str, str]
"""New name of a head -> its name in the part."""


def of_provenance(
    parts: Sequence[tuple[Names, Description, str]], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Provenance of a checkpoint made of others; a part that is made of others gives theirs.

    Args:
        parts: names of the heads that are taken, description, and SHA-256 of the weights.
        versions: of the libraries that put them together.
    """
    found: list[dict[str, Any]] = []
    for names, description, weights in parts:
        before = description.provenance.get(PARTS)
        found += (
            _renamed(before, names)
            if before
            else [
                {
                    "heads": dict(names),
                    "weights_sha256": weights,
                    "training_config_sha256": description.config.fingerprint,
                    "provenance": dict(description.provenance),
                }
            ]
        )
    return {**versions, PARTS: found}


def of_metrics(parts: Sequence[tuple[Names, Mapping[str, Any]]]) -> dict[str, Any]:
    """What its metrics.json holds: figures by head, and all that each part's own says."""
    figures: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    for names, metrics in parts:
        own = metrics.get("validation", {})
        figures |= {name: own[before] for name, before in names.items() if before in own}
        before_that = metrics.get(PARTS)
        found += (
            _renamed(before_that, names)
            if before_that
            else [{"heads": dict(names), "metrics": dict(metrics)}]
        )
    return {"validation": figures, PARTS: found}


def _renamed(parts: Sequence[Mapping[str, Any]], names: Names) -> list[dict[str, Any]]:
    """Parts with the heads that are still taken; those without any are left out."""
    made = []
    for part in parts:
        heads = {
            name: part["heads"][before] for name, before in names.items() if before in part["heads"]
        }
        if heads:
            made.append({**part, "heads": heads})
    return made
