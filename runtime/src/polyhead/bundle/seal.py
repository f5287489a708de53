"""The digest of a manifest: SHA-256 of all that it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGEST = "digest"
"""The manifest's field for it."""


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest as plain data, with its digest as last field."""
    return {**_unsealed(data), DIGEST: digest_of(data)}


def digest_of(data: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the canonical JSON of a manifest without its field `digest`.

    Canonical are sorted keys, no blanks, ASCII with escapes, and numbers as Python writes them. So
    spaces and the order of keys do not count; each value does.
    """
    canonical = json.dumps(_unsealed(data), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _unsealed(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != DIGEST}
