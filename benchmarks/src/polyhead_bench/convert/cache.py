"""Which form of a model lies where: made once by polyhead's own commands, and kept.

A form is kept under what it was made of: the checkpoint's weights and description, the bundle whose
golden texts calibrate, the sources of the exporter, of the model code and of the converters, and
the versions of the libraries that they call. When any of them changes, it is made again.
"""

from __future__ import annotations

import hashlib
import logging
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from polyhead.bundle import is_bundle, read
from polyhead.bundle.digest import sha256
from polyhead_bench import commands
from polyhead_bench.errors import PeerFault

CONVERTED = frozenset(
    {
        "textbook",
        "optimum",
        "optimum-int8",
        "openvino",
        "encoder",
        "masked",
        "moved",
    }
)
"""Forms that `polyhead_bench.convert.forms` makes, in a process of its own: it needs PyTorch."""

_CONVERTER = "polyhead_bench.convert.forms"
_OF_CHECKPOINT = ("model.safetensors", "polyhead.json", "tokenizer.json")
_SOURCES = ("polyhead", "polyhead_models", "polyhead_export")
_OWN_SOURCES = ("convert", "environments")
_LIBRARIES = ("torch", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime")
_ALSO = {"qdq": "onnx", "cuda": "cuda"}
_SHOWN = 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Models:
    """One model in every form that peers ask for.

    Attributes:
        bundle: the bundle that is measured.
        checkpoint: the checkpoint behind it; None measures what needs no other form.
        student: a bundle of a smaller model with the same heads, or of both in a cascade; None
            where there is none.
        cache: folder for what is made; kept from run to run.
        environments: folder of the virtual environments that some peers need.
    """

    bundle: Path
    checkpoint: Path | None
    student: Path | None = None
    cache: Path
    environments: Path = Path("build/peers")

    def folder(self, model: str, heads: Sequence[str], *, pruned: bool = False) -> Path:
        """The folder of a peer's model, made when it is not there yet.

        Args:
            model: as in `polyhead_bench.peers.PeerSpec`: ``bundle``, ``checkpoint`` and ``student``
                as they are;
                ``fp32``, ``separate``, ``qdq``, ``cuda``, ``two-bundles`` and ``two-encoders``,
                which are exported; or one of `CONVERTED`.
            heads: that the peer answers with.
            pruned: whether a bundle is to hold these heads only.

        Raises:
            PeerFault: when it cannot be made; says which command failed.
        """
        if model == "bundle" and (not pruned or self._has_just(heads)):
            return self.bundle
        if model == "student":
            if self.student is None:
                raise PeerFault("student: needs the bundle of a smaller model; pass --student.")
            return self.student
        if model in _ALSO and self._has_graph(_ALSO[model]):
            return self.bundle
        if self.checkpoint is None:
            raise PeerFault(f"{model}: needs the checkpoint behind the bundle; pass --checkpoint.")
        if model == "checkpoint":
            return self.checkpoint
        if model == "bundle":
            return self._int8(heads)
        if model == "fp32":
            return self._export("fp32", heads, ["--precision", "fp32"])
        if model in _ALSO:
            return self._export(model, heads, ["--also", _ALSO[model]])
        if model == "separate":
            for head in heads:
                self._int8([head])
            return self._home / "separate"
        if model in ("two-bundles", "two-encoders"):
            return self._two(heads)[model]
        if model in CONVERTED:
            return self._convert(model, heads)
        raise PeerFault(f"{model}: nobody knows how to make it.")

    @property
    def _home(self) -> Path:
        assert self.checkpoint is not None
        pins = sorted(self.environments.glob("*/installed.txt"))  # their tools make some forms
        parts = [_made_by(), sha256(self.bundle / "manifest.json"), *map(sha256, pins)]
        files = [self.checkpoint / name for name in _OF_CHECKPOINT]
        parts += [sha256(file) for file in files if file.is_file()]
        return self.cache / hashlib.sha256(" ".join(parts).encode()).hexdigest()[:_SHOWN]

    def _has_just(self, heads: Sequence[str]) -> bool:
        """Whether the bundle is what an int8 export of these heads would be."""
        manifest = read(self.bundle).manifest
        return set(heads) == set(manifest.heads) and manifest.graphs[0].precision == "int8"

    def _has_graph(self, target: str) -> bool:
        return any(graph.target == target for graph in read(self.bundle).manifest.graphs)

    def _int8(self, heads: Sequence[str]) -> Path:
        """One head lies where `separate` looks for it."""
        if len(heads) == 1:
            return self._export(f"separate/{heads[0]}", heads, [], named=True)
        return self._export("int8", heads, [])

    def _export(
        self, name: str, heads: Sequence[str], more: Sequence[str], *, named: bool = False
    ) -> Path:
        """Export the heads, within the limits of the bundle's own gate."""
        target = self._home / (name if named else f"{name}-{_digest(heads)}")
        if not is_bundle(target):
            words = [str(self.checkpoint), "-o", str(target), "--heads", ",".join(heads)]
            gate = read(self.bundle).manifest.gate
            if "fp32" not in more:
                words += ["--precision", "int8"]
            if gate is not None and "fp32" not in more:
                words += ["--max-drop", f"{gate.max_drop:g}", "--max-flips", f"{gate.max_flips:g}"]
                words += ["--tie-margin", f"{gate.tie_margin:g}"]
            self._polyhead(target, ["export", *words, *more])
        return target

    def _two(self, heads: Sequence[str]) -> dict[str, Path]:
        """The bundle of the heads and one over a slightly other encoder, apart and combined."""
        own, moved = self._int8(heads), self._convert("moved", heads)
        apart, both = self._home / f"two-{_digest(heads)}", self._home / f"both-{_digest(heads)}"
        other = apart / "b"
        names = ",".join(heads)
        if not is_bundle(other):
            free = ["--max-drop", "100", "--max-flips", "100"]  # its answers are nobody's
            self._polyhead(other, ["export", str(moved), "-o", str(other), "--heads", names, *free])
            (apart / "a").symlink_to(own.absolute(), target_is_directory=True)
        if not is_bundle(both):
            words = [str(own), str(other), "-o", str(both), "--prefix", "", "--prefix", "other-"]
            self._polyhead(both, ["combine", *words])
        return {"two-bundles": apart, "two-encoders": both}

    def _convert(self, form: str, heads: Sequence[str]) -> Path:
        target = self._home / f"{form}-{_digest(heads)}"
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            folders = (self.checkpoint, self.bundle, self.environments, target)
            logger.info("making %s of %s", form, ", ".join(heads))
            commands.module(_CONVERTER, [form, *folders, *heads], f"making {form}")
        return target

    def _polyhead(self, target: Path, words: Sequence[str]) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        logger.info("$ polyhead %s", shlex.join(words))
        commands.module("polyhead", words, f"'polyhead {shlex.join(words)}'")


@cache
def _made_by() -> str:
    """A digest of the code and the libraries that make forms."""
    digest = hashlib.sha256()
    for file in _sources():
        digest.update(file.read_bytes())
    for name in _LIBRARIES:
        try:
            digest.update(f"{name} {version(name)}".encode())
        except PackageNotFoundError:
            continue
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    """The Python files of the exporter and all that it calls, and of the converters."""
    home = Path(__file__).parent.parent
    folders = [home / name for name in _OWN_SOURCES]
    for name in _SOURCES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            folders.append(Path(spec.origin).parent)
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def _digest(heads: Sequence[str]) -> str:
    return hashlib.sha256(",".join(heads).encode()).hexdigest()[:8]
