"""Models in the forms that peers ask for: made once, by polyhead's own commands."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyhead.bundle import is_bundle, read
from polyhead.bundle.digest import sha256
from polyhead_bench.errors import PeerFault

_WEIGHTS = "model.safetensors"
_CONVERTER = "polyhead_bench.graphs.forms"
CONVERTED = frozenset(
    {"textbook", "optimum", "optimum-int8", "openvino", "encoder", "encoder-onnx"}
)
"""Forms that `polyhead_bench.graphs.forms` makes, in a process of its own: it needs PyTorch."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """One model in every form that peers ask for.

    Attributes:
        bundle: the bundle that is measured.
        checkpoint: the checkpoint behind it; None measures what needs no other form.
        cache: folder for what is made; kept from run to run, by the digest of the weights.
        environments: folder of the virtual environments that some peers need.
        note: called before something is made, which takes a while.
    """

    bundle: Path
    checkpoint: Path | None
    cache: Path
    environments: Path = Path("build/peers")
    note: Callable[[str], None]

    def folder(self, model: str, heads: Sequence[str], *, pruned: bool = False) -> Path:
        """The folder of a peer's model, made when it is not there yet.

        Args:
            model: as in `polyhead_bench.peers.PeerSpec`.
            heads: that the peer answers with.
            pruned: whether a bundle is to hold these heads only.

        Raises:
            PeerFault: when it cannot be made; says which command failed.
        """
        if model == "bundle" and (not pruned or self._has_just(heads)):
            return self.bundle
        if self.checkpoint is None:
            raise PeerFault(f"{model}: needs the checkpoint behind the bundle; pass --checkpoint.")
        if model == "checkpoint":
            return self.checkpoint
        if model == "bundle":
            return self._int8(heads)
        if model == "fp32":
            return self._export("fp32", heads)
        if model == "separate":
            for head in heads:
                self._int8([head])
            return self._home / "separate"
        if model in CONVERTED:
            return self._convert(model, heads)
        raise PeerFault(f"{model}: nobody knows how to make it.")

    @property
    def _home(self) -> Path:
        assert self.checkpoint is not None
        return self.cache / sha256(self.checkpoint / _WEIGHTS)[:16]

    def _has_just(self, heads: Sequence[str]) -> bool:
        """Whether the bundle is what an int8 export of these heads would be."""
        manifest = read(self.bundle).manifest
        return set(heads) == set(manifest.heads) and manifest.graphs[0].precision == "int8"

    def _int8(self, heads: Sequence[str]) -> Path:
        """One head lies where `separate` looks for it."""
        if len(heads) == 1:
            return self._export("int8", heads, self._home / "separate" / heads[0])
        return self._export("int8", heads)

    def _export(self, precision: str, heads: Sequence[str], target: Path | None = None) -> Path:
        target = target or self._home / f"{precision}-{_digest(heads)}"
        if not is_bundle(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            words = ["export", str(self.checkpoint), "-o", str(target), "--precision", precision]
            self._polyhead([*words, "--heads", ",".join(heads)])
        return target

    def _convert(self, form: str, heads: Sequence[str]) -> Path:
        target = self._home / f"{form}-{_digest(heads)}"
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            folders = map(str, (self.checkpoint, self.bundle, self.environments, target))
            self.note(f"making {form} of {', '.join(heads)}")
            self._python(_CONVERTER, [form, *folders, *heads], f"making {form}")
        return target

    def _polyhead(self, words: Sequence[str]) -> None:
        self.note(f"$ polyhead {shlex.join(words)}")
        self._python("polyhead", words, f"'polyhead {shlex.join(words)}'")

    def _python(self, module: str, words: Sequence[str], about: str) -> None:
        command = [sys.executable, "-m", module, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise PeerFault(f"{about} failed: {said[0]}")


def _digest(heads: Sequence[str]) -> str:
    return hashlib.sha256(",".join(heads).encode()).hexdigest()[:8]
