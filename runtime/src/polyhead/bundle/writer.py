"""Writing a bundle: whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyhead.bundle.collection import Collection
from polyhead.bundle.digest import with_digest
from polyhead.bundle.manifest import FORMAT, MANIFEST, Manifest
from polyhead.bundle.reader import is_bundle
from polyhead.errors import BundleError
from polyhead.system import atomic
from polyhead.system.schema import plain


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a folder to fill; on success it becomes the bundle `target`, replacing an older one.

    Raises:
        BundleError: when something other than a bundle is at `target`, then or at the end; it is
            left alone.
    """
    _refuse_others(target)
    with atomic.folder(target) as folder:
        yield folder
        _refuse_others(target)


def _refuse_others(target: Path) -> None:
    if is_bundle(target):  # others have a file of this name, too
        known = f'"{FORMAT}"'.encode() in (target / MANIFEST).read_bytes()
    else:
        known = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not known:
        raise BundleError(
            f"{target}: exists and is not a bundle; it is left as it is. Name another folder."
        )


def write_manifest(folder: Path, manifest: Manifest | Collection) -> None:
    """Write `manifest.json`, with its digest, into a staged folder."""
    text = json.dumps(with_digest(plain(manifest)), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
