"""Bundles as repositories of the Hugging Face hub: ``hf:org/name@revision``.

Needs ``pip install "polyhead[hub]"``.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, partial
from glob import escape
from pathlib import Path
from types import ModuleType

from polyhead.bundle.manifest import MANIFEST
from polyhead.bundle.reader import file_names, read_parts
from polyhead.errors import (
    BundleError,
    BundleFileMissing,
    BundleNotFound,
    DigestMismatch,
    InvalidSetting,
    ManifestError,
    MissingExtra,
)
from polyhead.system import atomic

SCHEME = "hf:"
_ADDRESS = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def address(text: str) -> tuple[str, str | None]:
    """Name and revision of ``hf:org/name`` or ``hf:org/name@revision``.

    A revision is a branch, a tag or a commit; None is the newest on the main branch. Only a commit
    is the same tomorrow.

    Raises:
        InvalidSetting: for anything else.
    """
    found = _ADDRESS.fullmatch(text.removeprefix(SCHEME))
    if not text.startswith(SCHEME) or found is None:
        raise InvalidSetting(f"{text!r}: expected hf:ORG/NAME or hf:ORG/NAME@REVISION.")
    return found["name"], found["revision"]


def located(path: str | Path) -> Path:
    """The folder of a bundle: `path` itself, or the cached copy of a repository on the hub.

    Files come through `huggingface_hub`, which keeps them in its cache, honours ``HF_HUB_OFFLINE``
    and ``HF_ENDPOINT``, and finds a cached revision without a network. First the manifest is
    fetched, then the files that it names, whatever else the repository holds. What does not fit
    the manifest is fetched once more. The cache consists of links, which a bundle may not hold; the
    files that they lead to are linked into a folder next to it, or where the cache cannot be
    written into a temporary one, which ends with this process.

    Raises:
        BundleError: when the manifest cannot be read or trusted, or no folder can be written.
        BundleFileMissing: when the repository, or the cache, does not have all files.
        BundleNotFound: when there is no such repository, revision or network, and no cached copy.
        DigestMismatch: when the hub has other files than the manifest says.
        InvalidSetting: when the address cannot be read, or `path` is no path.
        MissingExtra: for an address where `huggingface_hub` is not installed.
    """
    text = _text(path)
    if not text.startswith(SCHEME):
        return Path(path)
    address(text)
    library = _library()
    try:
        return _whole(library, text, again=False)
    except (DigestMismatch, ManifestError) as wrong:  # a download may have gone wrong
        try:
            return _whole(library, text, again=True)
        except (BundleFileMissing, BundleNotFound):
            raise wrong from None


def _whole(library: ModuleType, text: str, *, again: bool) -> Path:
    """The folder with all files, which were compared with their digests when it was made."""
    repository, revision = address(text)
    try:
        manifest = _fetched(library, repository, MANIFEST, revision, again=again)
    except _Refusal as problem:
        raise BundleNotFound(
            f"{text}: the hub gives no {MANIFEST} of such a repository, and there is none in the"
            f" cache: {problem}"
        ) from problem
    snapshot = manifest.absolute().parent
    place = snapshot.parent.parent / "polyhead" / snapshot.name  # the name is the commit's
    if not again and _is_whole(place):
        return place
    names = file_names(manifest)
    for name in names:
        try:
            _fetched(library, repository, name, snapshot.name, again=again)
        except _Refusal as problem:
            raise BundleFileMissing(
                f"{text}: the manifest names {name}, and neither the hub nor the cache gives it:"
                f" {problem}"
            ) from problem
    return _without_links(snapshot, (MANIFEST, *names), place)


class _Refusal(Exception):
    """The hub, the network or the cache refuses; says in one line why, and what to do."""

    def __init__(self, problem: Exception) -> None:
        status, cause = None, problem.__cause__ or problem  # of "neither there nor here", the first
        for each in (problem, cause):
            status = status or getattr(getattr(each, "response", None), "status_code", None)
        advice = _NO_NETWORK if status is None else _ADVICE.get(int(status), "Try again later.")
        if isinstance(problem, OSError) and problem.errno:  # a file, not the network
            advice = _NO_ROOM
        super().__init__(f"{' '.join(str(problem).split()).rstrip('.')}. {advice}")


_ADVICE = {
    401: "Check the name; a private repository needs 'hf auth login' or HF_TOKEN.",
    403: "Ask its owner for access, then 'hf auth login' or set HF_TOKEN.",
    404: "Check name and revision, and that it holds a whole bundle.",
    429: "Wait, then try again; with HF_TOKEN the hub allows more requests.",
}
_NO_NETWORK = "Check the network and HF_ENDPOINT, or name a folder."
_NO_ROOM = "Set HF_HOME to a folder that can be written."
_COMMIT = re.compile("[0-9a-f]{40}")


def _fetched(
    library: ModuleType, repository: str, name: str, revision: str | None, *, again: bool
) -> Path:
    """A file in the cache of `huggingface_hub`, downloaded where it is missing, or `again`."""
    download = partial(library.hf_hub_download, repository, name, revision=revision)
    try:
        try:
            known = Path(download(local_files_only=True))
        except library.errors.LocalEntryNotFoundError:
            # One question with a time limit: a download asks a hub that hangs for six minutes.
            url = library.hf_hub_url(repository, name, revision=revision)
            with suppress(library.errors.HfHubHTTPError):  # which a download may retry
                library.get_hf_file_metadata(url, timeout=library.constants.HF_HUB_ETAG_TIMEOUT)
        else:
            if again:
                download(force_download=True)
                known.unlink()  # a link to what was wrong, which stays by itself
        found = Path(download())
    except Exception as problem:  # of an HTTP library that is another in each of its versions
        raise _Refusal(problem) from problem
    if _COMMIT.fullmatch(revision or "") and found.parent.name != revision:
        raise _Refusal(ValueError(f"{name}: the hub gave it of commit {found.parent.name}"))
    return found


def _is_whole(folder: Path) -> bool:
    try:
        return bool(read_parts(folder, digests=False))
    except BundleError:
        return False


def _library() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as problem:
        raise MissingExtra(
            "huggingface_hub is not installed; addresses of the hub (hf:ORG/NAME) need it. Run"
            " 'pip install \"polyhead[hub]\"', or name a folder."
        ) from problem
    return huggingface_hub


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
        MissingExtra: when `huggingface_hub` is not installed.
    """
    repository, revision = address(target)
    library = _library()
    read_parts(bundle)
    names = file_names(bundle / MANIFEST, pages=True)
    interface = library.HfApi()
    try:
        interface.create_repo(repository, private=private, exist_ok=True)
        commit = interface.upload_folder(
            repo_id=repository,
            folder_path=bundle,
            revision=revision,
            allow_patterns=[escape(name) for name in (MANIFEST, *names)],
            commit_message="polyhead bundle",
        )
    except Exception as problem:  # as for a download
        raise BundleError(f"{target}: the hub does not take it: {_Refusal(problem)}") from problem
    return f"{SCHEME}{repository}@{commit.oid}"


def _without_links(snapshot: Path, names: Sequence[str], place: Path) -> Path:
    """The folder `place` with the files themselves; made once a revision.

    Another process may make it at the same time: the first stays, for the content is the commit's.

    Raises:
        DigestMismatch: when a file is not the manifest's; nothing is made then.
    """
    try:
        with atomic.folder(place, replace=place.is_dir()) as staged:
            _fill(staged, snapshot, names)
    except OSError:  # another process was first, or the cache may only be read, as a container's
        if not _is_whole(place):
            return _temporary(snapshot, tuple(names))
    return place


@cache
def _temporary(snapshot: Path, names: tuple[str, ...]) -> Path:
    """A folder with the files themselves, once a process; it is removed when the process ends."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="polyhead-"))
        atexit.register(_removed, folder, os.getpid())
        _fill(folder, snapshot, names)
    except OSError as problem:
        raise BundleError(
            f"{snapshot}: neither next to it nor in a temporary folder is room for its files:"
            f" {problem}. Set HF_HOME or TMPDIR to a folder that can be written."
        ) from problem
    return folder


def _removed(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked process still reads it in its parent's stead
        shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, snapshot: Path, names: Sequence[str]) -> None:
    """Link or copy the files, and compare them with their digests."""
    for name in names:
        source = (snapshot / name).resolve()
        try:
            os.link(source, folder / name)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, folder / name)
    read_parts(folder)
