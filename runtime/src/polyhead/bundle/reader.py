"""Reading a bundle: strict, and nothing from it is executed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead.bundle import limits
from polyhead.bundle.collection import COLLECTION, Collection
from polyhead.bundle.digest import DIGEST, compute_digest, sha256
from polyhead.bundle.golden import Golden
from polyhead.bundle.limits import BundleLimit
from polyhead.bundle.manifest import FORMAT, MANIFEST, FileEntry, Graph, Manifest
from polyhead.errors import (
    BundleFileMissing,
    BundleNotFound,
    DigestMismatch,
    FormatVersionError,
    ManifestError,
)
from polyhead.system import atomic
from polyhead.system.schema import parse, read_json

_NEXT_STEP = "Copy the bundle again from where it was made, or export it again."


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest has been read and whose files have been checked.

    Attributes:
        path: the folder.
        manifest: what it says of itself.
        siblings: manifests of the other sub-models in the folder, which may share its graphs.
        cascade: that of the folder; see `polyhead.bundle.Collection`.
    """

    path: Path
    manifest: Manifest
    siblings: tuple[Manifest, ...] = ()
    cascade: Mapping[str, float] | None = None

    def file(self, entry: FileEntry) -> Path:
        """Path of a file of this bundle."""
        return self.path / entry.file

    def content(self, entry: FileEntry) -> bytes:
        """All bytes of a file.

        Raises:
            BundleFileMissing: when it cannot be read.
        """
        path = self.file(entry)
        with _readable(path):
            return path.read_bytes()

    def check_digest(self, entry: FileEntry, content: bytes | None = None) -> None:
        """Compare a file with the SHA-256 that the manifest gives.

        Args:
            entry: the file.
            content: of the file, when it has been read already; None reads it.

        Raises:
            DigestMismatch: when they differ.
            BundleFileMissing: when the file cannot be read.
        """
        path = self.file(entry)
        with _readable(path):
            digest = sha256(path) if content is None else hashlib.sha256(content).hexdigest()
        if digest != entry.sha256:
            raise DigestMismatch(
                f"{path}: found SHA-256 {digest[:16]}…, expected {entry.sha256[:16]}…. {_NEXT_STEP}"
            )

    def outputs(self, graph: Graph) -> tuple[str, ...]:
        """Names of all outputs that a graph has: those of its heads, in every sub-model."""
        found = {
            manifest.heads[head].output: None
            for manifest in (self.manifest, *self.siblings)
            for same in manifest.graphs
            if same.file == graph.file
            for head in same.heads
        }
        return tuple(found)

    def golden(self) -> Golden:
        """The golden examples.

        Raises:
            ManifestError: when `golden.json` breaks the format.
            BundleFileMissing: when it cannot be read.
        """
        path = self.file(self.manifest.golden)
        with _readable(path):
            data = read_json(path, limit_bytes=limits.GOLDEN_BYTES.most, error=ManifestError)
        return parse(Golden, data, where=str(path), error=ManifestError)


def is_bundle(path: Path) -> bool:
    """Whether `path` is a folder with a manifest; says nothing of what the manifest holds."""
    return (path / MANIFEST).is_file()


def read(path: str | Path, *, digests: bool = True) -> Bundle:
    """Read a bundle of one model and check every file against the manifest.

    Args:
        path: the folder.
        digests: whether to compare SHA-256, too; sizes and kinds of files are always checked.

    Raises:
        BundleNotFound: when there is no folder with a manifest at `path`.
        ManifestError: on an unknown, missing or ill-typed field, and for a bundle of several
            sub-models; `read_parts` reads these.
        FormatVersionError: when it was written by a newer polyhead.
        BundleFileMissing: when a file is missing, cannot be read, or is a link or no plain file.
        DigestMismatch: when a file's size or content differs from the manifest, or the manifest
            from its own digest, which is always checked.
    """
    found = read_parts(path, digests=digests)
    if len(found) != 1:
        raise ManifestError(
            f"{path}: a bundle of {len(found)} sub-models, expected one model. Use the bundles that"
            " it was combined of."
        )
    return found[0]


def read_parts(path: str | Path, *, digests: bool = True) -> tuple[Bundle, ...]:
    """Read a bundle, of one model or of several sub-models; otherwise as `read`.

    Returns:
        One bundle for each sub-model, all of the same folder; a usual bundle gives one.
    """
    folder = Path(path)
    return atomic.steadily([folder], lambda: _read_parts(folder, digests), checked=digests)


def manifest_digest(path: Path) -> str:
    """Hex SHA-256 of a bundle's manifest, which names all its files by theirs: one model, one text.

    Raises:
        BundleError: as `read`; other files than the manifest are not looked at.
    """
    return compute_digest(_version(path)[0])


def _read_parts(path: Path, digests: bool) -> tuple[Bundle, ...]:
    manifests, pages, cascade = _manifests(path / MANIFEST, *_version(path))
    checked: dict[str, tuple[FileEntry, BundleLimit]] = {}
    for manifest in manifests:
        checked |= {entry.file: (entry, limit) for entry, limit in _limits(manifest)}
    found = tuple(
        Bundle(path, manifest, (*manifests[:number], *manifests[number + 1 :]), cascade)
        for number, manifest in enumerate(manifests)
    )
    for entry, limit in checked.values():
        size = _size(path / entry.file)
        limit.check(entry.size, str(path / entry.file), ManifestError)
        if size != entry.size:
            raise DigestMismatch(
                f"{path / entry.file}: found {size:,} bytes, expected {entry.size:,}. {_NEXT_STEP}"
            )
        if digests:
            found[0].check_digest(entry)
    for entry in pages:
        if os.path.lexists(path / entry.file):
            size = _size(path / entry.file)
            limits.CARD_BYTES.check(size, str(path / entry.file), ManifestError)
    return found


def file_names(manifest: Path, *, pages: bool = False) -> tuple[str, ...]:
    """Names of the files of a bundle, itself left out, by its `manifest.json` alone.

    Args:
        manifest: the file.
        pages: whether model cards and their pictures count, which may be gone.

    Raises:
        ManifestError: as for `read`.
        FormatVersionError: as for `read`.
        DigestMismatch: when the manifest differs from its own digest.
        BundleFileMissing: when it cannot be read.
    """
    parts, more, _ = _manifests(manifest, *_contents(manifest))
    entries = [*(entry for part in parts for entry in part.checked), *(more if pages else ())]
    return tuple(dict.fromkeys(entry.file for entry in entries))


def _manifests(
    file: Path, data: dict[str, Any], version: int
) -> tuple[tuple[Manifest, ...], tuple[FileEntry, ...], Mapping[str, float] | None]:
    """The manifest of each sub-model, all files that are only for people, and the cascade."""
    pages: tuple[FileEntry, ...] = ()
    cascade = None
    if version == COLLECTION:
        whole = parse(Collection, data, where=str(file), error=ManifestError)
        parts, pages, cascade = whole.parts, (whole.card,), whole.cascade
    else:
        parts = (parse(Manifest, data, where=str(file), error=ManifestError),)
    limits.SUB_MODELS.check(len(parts), str(file), ManifestError)
    limits.HEADS.check(sum(len(part.heads) for part in parts), str(file), ManifestError)
    limits.GRAPHS.check(sum(len(part.graphs) for part in parts), str(file), ManifestError)
    return parts, (*pages, *(entry for part in parts for entry in part.pages)), cascade


def _limits(manifest: Manifest) -> list[tuple[FileEntry, BundleLimit]]:
    """Each file, and how large it may be: what is larger is refused before it is read or hashed."""
    found = [
        (manifest.tokenizer, limits.TOKENIZER_BYTES),
        (manifest.golden, limits.GOLDEN_BYTES),
        (manifest.calibration, limits.CALIBRATION_BYTES),
        *((graph, limits.GRAPH_BYTES) for graph in manifest.graphs),
        *(
            (each, limits.GRAPH_BYTES)
            for g in manifest.decoders.values()
            for each in (g.cross, g.step)
        ),
    ]
    return [(entry, limit) for entry, limit in found if entry is not None]


def _version(path: Path) -> tuple[dict[str, Any], int]:
    """What the manifest of the bundle at `path` holds, and its format version."""
    try:
        there = is_bundle(path)
    except OSError as problem:
        raise BundleNotFound(
            f"{str(path)[:200]}: cannot look for a bundle here: {problem.strerror}. Name a folder"
            " that this process may read."
        ) from problem
    if not there:
        raise BundleNotFound(
            f"{path}: no bundle here (no {MANIFEST}). Make one with"
            " 'polyhead export CHECKPOINT -o BUNDLE'."
        )
    file = path / MANIFEST
    with _readable(file):
        if file.is_symlink():
            raise BundleFileMissing(f"{file}: a link; expected a plain file. {_NEXT_STEP}")
    return _contents(file)


def _contents(file: Path) -> tuple[dict[str, Any], int]:
    """The manifest as plain data without its digest, which was checked, and its format version."""
    with _readable(file):
        data = read_json(file, limit_bytes=limits.MANIFEST_BYTES.most, error=ManifestError)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ManifestError(f"{file}: not a bundle's manifest: 'format' must be {FORMAT!r}.")
    version = data.get("version")
    if type(version) is not int or version < 1:
        raise ManifestError(f"{file}: version: found {version!r}, expected a number from 1.")
    if version > COLLECTION:
        raise FormatVersionError(
            f"{file}: format version {version}; this polyhead reads up to {COLLECTION}."
            " Upgrade with 'pip install --upgrade polyhead'."
        )
    _check_manifest_digest(file, data)
    del data[DIGEST]
    return data, version


def _check_manifest_digest(file: Path, data: dict[str, Any]) -> None:
    """A manifest names labels and outputs, which no other digest covers."""
    declared = data.get(DIGEST)
    if not isinstance(declared, str):
        found = "none" if DIGEST not in data else f"a {type(declared).__name__}"
        raise ManifestError(
            f"{file}: digest: found {found}, expected the SHA-256 of the manifest. Bundles of"
            " development versions before it have none: export the bundle again."
        )
    try:
        digest = compute_digest(data)
    except RecursionError as problem:
        raise ManifestError(f"{file}: not valid JSON: nested too deeply.") from problem
    if digest != declared:
        raise DigestMismatch(
            f"{file}: found SHA-256 {digest[:16]}…, but its digest is {declared[:16]!r}: a value"
            f" was changed after it was written. {_NEXT_STEP}"
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """An error of the file system in the block is one of the bundle."""
    try:
        yield
    except OSError as problem:
        raise BundleFileMissing(
            f"{path}: cannot be read: {problem.strerror or problem}. See to its rights and its"
            " disk, or copy the bundle again."
        ) from problem


def _size(path: Path) -> int:
    """Bytes of a plain file; what is a link or something else is refused."""
    with _readable(path):
        if path.is_symlink() or not path.is_file():
            found = "a link" if path.is_symlink() else "nothing" if not path.exists() else "no file"
            raise BundleFileMissing(f"{path}: found {found}, expected a plain file. {_NEXT_STEP}")
        return path.stat().st_size
