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


@dataclass(frozen=True, kw_only=True)
class Models:
    """One model in every form that peers ask for.

    Attributes:
        bundle: the bundle that is measured.
        checkpoint: the checkpoint behind it; None measures what needs no other form.
        cache: folder for what is made; kept from run to run, by the digest of the weights.
        note: called before something is made, which takes a while.
    """

    bundle: Path
    checkpoint: Path | None
    cache: Path
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
        if model == "optimum":
            for head in heads:
                self._optimum(head)
            return self._home / "optimum"
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
        key = f"{precision}-{hashlib.sha256(','.join(heads).encode()).hexdigest()[:8]}"
        target = target or self._home / key
        if not is_bundle(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            words = ["export", str(self.checkpoint), "-o", str(target), "--precision", precision]
            self._polyhead([*words, "--heads", ",".join(heads)])
        return target

    def _optimum(self, head: str) -> None:
        target = self._home / "optimum" / head
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            words = ["export", str(self.checkpoint), "-o", str(target), "--format", "optimum"]
            self._polyhead([*words, "--heads", head])

    def _polyhead(self, words: Sequence[str]) -> None:
        self.note(f"$ polyhead {shlex.join(words)}")
        done = subprocess.run(
            [sys.executable, "-m", "polyhead", *words], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise PeerFault(f"'polyhead {shlex.join(words)}' failed: {said[0]}")
