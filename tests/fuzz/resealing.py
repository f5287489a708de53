"""Makes a changed bundle whole again, as somebody would who wants harm."""

import json
from pathlib import Path
from typing import Any

from polyhead.bundle import digest


def reseal(folder: Path, *, files: bool = True) -> None:
    """Write the manifest's own digest, and the sizes and digests of its files where it names any.

    Args:
        folder: of the bundle.
        files: False leaves what the manifest says of the files as it is.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return  # beyond that
    if not isinstance(manifest, dict):
        return
    if files:
        for part in [manifest, *_tables(manifest.get("parts"))]:
            of_part = [part.get(name) for name in ("tokenizer", "golden", "card")]
            decoders = part.get("decoders")
            written = _tables([*decoders.values()]) if isinstance(decoders, dict) else []
            steps = [each.get(name) for each in written for name in ("cross", "step")]
            for entry in _tables([*of_part, *_tables(part.get("graphs")), *steps]):
                _measure(folder, entry)
    path.write_text(json.dumps(digest.with_digest(manifest)), encoding="utf-8")


def _measure(folder: Path, entry: dict[str, Any]) -> None:
    try:
        found = digest.entry(folder / entry["file"])
    except (KeyError, TypeError, ValueError, OSError):
        return  # it names no file of this folder
    entry.update(sha256=found.sha256, size=found.size)


def _tables(found: object) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
