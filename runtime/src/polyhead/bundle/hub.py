"""Bundles as repositories of the Hugging Face hub: ``hf:org/name@revision``."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from polyhead.bundle.manifest import MANIFEST
from polyhead.bundle.reader import read_parts
from polyhead.errors import BundleError, BundleNotFound, InvalidSetting
from polyhead.system import atomic

SCHEME = "hf:"
_ADDRESS = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
# What a bundle may consist of; a repository may hold other files beside it.
_FILES = [MANIFEST, "README.md", "README-*.md", "*.json", "*.onnx", "*.png"]


@dataclass(frozen=True)
class Address:
    """A repository on the hub.

    Attributes:
        name: ``org/name``.
        revision: a branch, a tag or a commit; None for the newest on the main branch. Only a commit
            is the same tomorrow.
    """

    name: str
    revision: str | None = None


def address(text: str) -> Address:
    """Read ``hf:org/name`` or ``hf:org/name@revision``.

    Raises:
        InvalidSetting: for anything else.
    """
    found = _ADDRESS.fullmatch(text.removeprefix(SCHEME))
    if not text.startswith(SCHEME) or found is None:
        raise InvalidSetting(f"{text!r}: expected hf:ORG/NAME or hf:ORG/NAME@REVISION.")
    return Address(found["name"], found["revision"])


def located(path: str | Path) -> Path:
    """The folder of a bundle: `path` itself, or the cached copy of a repository on the hub.

    Files come through `huggingface_hub`, which keeps them in its cache, honours ``HF_HUB_OFFLINE``
    and ``HF_ENDPOINT``, and finds a cached revision without a network. Its cache consists of links,
    which a bundle may not hold; the files that they lead to are linked into a folder beside it, or
    where the cache cannot be written into a temporary one, which ends with this process.

    Raises:
        BundleError: when no folder can be written.
        BundleNotFound: when there is no such repository, revision or network, and no cached copy.
        InvalidSetting: when the address cannot be read, or `path` is no path.
    """
    text = _text(path)
    if not text.startswith(SCHEME):
        return Path(path)
    wanted = address(text)
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = Path(
            huggingface_hub.snapshot_download(
                wanted.name, revision=wanted.revision, allow_patterns=_FILES
            )
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as problem:
        raise BundleNotFound(
            f"{text}: the hub gives no such repository, and there is none in the cache: {problem}"
        ) from problem
    if not (snapshot / MANIFEST).is_file():
        raise BundleNotFound(f"{text}: this repository holds no bundle (no {MANIFEST}).")
    return _without_links(snapshot)


def _text(path: object) -> str:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str):
        raise InvalidSetting(
            f"path: found {type(text).__name__}, expected a bundle's folder as str or Path, or"
            " hf:ORG/NAME."
        )
    return text


def push(bundle: Path, target: str, *, private: bool = False) -> str:
    """Put a bundle on the hub, in one commit; the repository is made where there is none.

    Only the files that the manifest names are sent, after their digests were checked.

    Args:
        bundle: its folder.
        target: ``hf:org/name``, or with ``@branch``.
        private: of a new repository.

    Returns:
        The address of the new commit, for `polyhead.load`.

    Raises:
        BundleError: when the bundle cannot be read or trusted, or the hub refuses it.
        InvalidSetting: when the address cannot be read.
    """
    wanted = address(target)
    names = {entry.file for part in read_parts(bundle) for entry in part.manifest.files}
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    interface = huggingface_hub.HfApi()
    try:
        interface.create_repo(wanted.name, private=private, exist_ok=True)
        commit = interface.upload_folder(
            repo_id=wanted.name,
            folder_path=bundle,
            revision=wanted.revision,
            allow_patterns=[MANIFEST, "README.md", *names],
            commit_message="polyhead bundle",
        )
    except (HFValidationError, HfHubHTTPError, OSError) as problem:
        raise BundleError(f"{target}: the hub does not take it: {problem}") from problem
    return f"{SCHEME}{wanted.name}@{commit.oid}"


def _without_links(snapshot: Path) -> Path:
    """A folder beside the cache's snapshots with the files themselves; made once a revision."""
    place = snapshot.parent.parent / "polyhead" / snapshot.name
    if place.is_dir():
        return place
    try:
        with atomic.folder(place) as staged:
            _fill(staged, snapshot)
    except OSError:  # a cache that may only be read, such as a container's
        return _temporary(snapshot)
    return place


@cache
def _temporary(snapshot: Path) -> Path:
    """A folder with the files themselves, once a process; it is removed when the process ends."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="polyhead-"))
        atexit.register(_removed, folder, os.getpid())
        _fill(folder, snapshot)
    except OSError as problem:
        raise BundleError(
            f"{snapshot}: neither beside it nor in a temporary folder is room for its files:"
            f" {problem}. Set HF_HOME or TMPDIR to a folder that can be written."
        ) from problem
    return folder


def _removed(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked process still reads it in its parent's stead
        shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, snapshot: Path) -> None:
    for file in snapshot.iterdir():
        if file.is_file():
            try:
                os.link(file.resolve(), folder / file.name)
            except OSError:  # another file system, or one without hard links
                (folder / file.name).write_bytes(file.read_bytes())
