"""A deployed bundle whose quantisation is kept, for a checkpoint that has further heads.

Ranges, smoothing and plan are read from the bundle; then the logits of its heads are compared to
the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

import polyhead
from polyhead import Engine
from polyhead.bundle import EncoderInfo, Manifest, read
from polyhead.text.encoding import Input
from polyhead_export.errors import DeployedError
from polyhead_export.passes.quantise_linears import LARGEST
from polyhead_export.quantisation.calibrate import CalibratedPoint, Plan
from polyhead_export.quantisation.stored import StoredCalibration, int8_weights
from polyhead_models.checkpoint import Checkpoint

_KEPT = ", as deployed"


@dataclass(frozen=True)
class DeployedBundle:
    """A bundle whose quantisation is kept.

    Attributes:
        path: of the bundle.
        manifest: what it says of itself.
        calibration: how its first graph was quantised.
    """

    path: Path
    manifest: Manifest
    calibration: StoredCalibration

    @classmethod
    def read(cls, path: Path) -> DeployedBundle:
        """Read a bundle whose quantisation is to be kept.

        Raises:
            BundleError: when it cannot be read or trusted.
            DeployedError: when it is not quantised, or does not hold how.
        """
        bundle = read(path)
        manifest = bundle.manifest
        if manifest.gate is None or manifest.graphs[0].precision != "int8":
            raise DeployedError(
                f"{path}: found a {manifest.graphs[0].precision} bundle, expected an int8 one of"
                " 'polyhead export'. Export all heads without --calibrated-as."
            )
        if manifest.calibration is None:
            raise DeployedError(
                f"{path}: holds no calibration, like all bundles of older versions. Export its"
                " checkpoint once again with this version, and name that bundle."
            )
        stored = StoredCalibration.read(bundle.file(manifest.calibration))
        return cls(path, manifest, stored)

    @property
    def plan(self) -> Plan:
        """How its linears were quantised."""
        name = self.manifest.gate.attempt.name if self.manifest.gate else "int8"
        return replace(self.calibration.plan, name=f"{name.removesuffix(_KEPT)}{_KEPT}")

    def points_of(self, graph: ir.Graph) -> Mapping[str, CalibratedPoint]:
        """How the points of a new float graph were quantised; see `StoredCalibration.points_of`.

        Raises:
            DeployedError: for weights of more than 7 bits, too, as bundles of versions before have.
        """
        own = int8_weights(ir.load(self.path / self.manifest.graphs[0].file).graph)
        largest = max((int(abs(w.astype(int)).max()) for w in own.values()), default=0)
        if largest > LARGEST:
            raise DeployedError(
                f"{self.path}: found int8 weights up to {largest}, as older versions made them; at"
                f" most {LARGEST} is allowed now. Export all heads anew, without --calibrated-as."
            )
        return self.calibration.points_of(graph, own)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its provenance says of the texts that it was calibrated on."""
        found = self.manifest.provenance.get("calibration")
        return found if isinstance(found, Mapping) else {}

    def check(self, checkpoint: Checkpoint, theirs: EncoderInfo) -> None:
        """Refuse a checkpoint with another encoder, `theirs`, or without one of the heads.

        Raises:
            DeployedError: says what differs.
        """
        own = self.manifest.encoder
        if (own.fingerprint, own.max_tokens) != (theirs.fingerprint, theirs.max_tokens):
            raise DeployedError(
                f"{self.path}: its encoder has the fingerprint {own.fingerprint[:12]}… and reads"
                f" {own.max_tokens} tokens, the checkpoint's {theirs.fingerprint[:12]}… and"
                f' {theirs.max_tokens}. Train new heads with freeze = "encoder" over the deployed'
                " checkpoint."
            )
        if self.manifest.special_tokens != checkpoint.tokenizer.special_tokens:
            raise DeployedError(
                f"{self.path}: reads special tokens in texts as {self.manifest.special_tokens!r},"
                f" the checkpoint as {checkpoint.tokenizer.special_tokens!r}. Train with"
                f' special_tokens = "{self.manifest.special_tokens}".'
            )
        known = checkpoint.model.specs
        if missing := [name for name in self.manifest.heads if name not in known]:
            raise DeployedError(
                f"{self.path}: its head {missing[0]!r} is not exported; found {', '.join(known)}."
            )

    def require_same(self, engine: Engine, asked: Sequence[Input]) -> None:
        """Compare the logits of its heads with those of a new graph, bit for bit.

        Raises:
            DeployedError: when one differs.
        """
        with polyhead.load(self.path, threads=1) as own:
            kinds = {spec.input for spec in own.heads.values()}
            read = [t for t in asked if ("text" if isinstance(t, str) else "pair") in kinds]
            names = list(own.heads)
            expected, found = own.logits(read), engine.logits(read)
        for name in names:
            pairs = zip(expected[name], found[name], strict=True)
            if differing := sum(not np.array_equal(a, b) for a, b in pairs):
                raise DeployedError(
                    f"{self.path}: its head {name!r} gives other logits in the new graph for"
                    f" {differing} of {len(read)} texts. It was exported with other versions or"
                    " settings; export all heads anew, without --calibrated-as."
                )
