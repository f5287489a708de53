"""The quantisation of a deployed bundle, for a checkpoint that has further heads.

The settings are not copied: they are found again from the same texts, in the order of the deployed
bundle's seed, and then the logits of its heads are compared to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import polyhead
from polyhead import Engine
from polyhead.bundle import Gate, Manifest, read
from polyhead.text.encoding import Input
from polyhead_export import calibration, texts
from polyhead_export.calibration import CalibrationTexts
from polyhead_export.errors import DeployedError
from polyhead_export.ladder import Rung
from polyhead_export.provenance import encoder_info
from polyhead_export.quantisation import Plan
from polyhead_export.selection import select
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import inputs


@dataclass(frozen=True)
class Deployed:
    """A bundle whose quantisation is kept.

    Attributes:
        path: of the bundle.
        manifest: what it says of itself.
        gate: of its export.
        calibrated: what its provenance says of the calibration.
        heads: on whose texts it was calibrated.
    """

    path: Path
    manifest: Manifest
    gate: Gate
    calibrated: Mapping[str, Any]
    heads: tuple[str, ...]

    @property
    def rung(self) -> Rung:
        """How its linears were quantised."""
        plan = Plan(per_row=frozenset(self.gate.per_row), fp32=frozenset(self.gate.fp32))
        return Rung(f"{self.gate.attempts[-1].name}, as deployed", plan)

    def check(self, checkpoint: Checkpoint) -> None:
        """Refuse a checkpoint with another encoder, or without one of the heads.

        Raises:
            DeployedError: says what differs.
        """
        own, theirs = self.manifest.encoder, encoder_info(checkpoint)
        if (own.fingerprint, own.max_tokens) != (theirs.fingerprint, theirs.max_tokens):
            raise DeployedError(
                f"{self.path}: its encoder has the fingerprint {own.fingerprint[:12]}… and reads"
                f" {own.max_tokens} tokens, the checkpoint's {theirs.fingerprint[:12]}… and"
                f' {theirs.max_tokens}. Train new heads with freeze = "encoder" over the deployed'
                " checkpoint."
            )
        known = checkpoint.model.specs
        if missing := [name for name in self.manifest.heads if name not in known]:
            raise DeployedError(
                f"{self.path}: its head {missing[0]!r} is not exported; found {', '.join(known)}."
            )

    def sample(
        self,
        checkpoint: Checkpoint,
        config: Config | None,
        examples: tuple[Sequence[Example], Sequence[Example]] | None,
    ) -> CalibrationTexts:
        """The texts that it was calibrated on, drawn again.

        Raises:
            DataError: when the texts are not where they were, or have changed.
            DeployedError: when others are drawn.
        """
        part = select(checkpoint, self.heads)
        whole = part.description
        part = replace(
            part,
            description=replace(
                whole, config=_only(whole.config, self.heads), data=_data(whole, self.heads)
            ),
        )
        own = None if config is None else _only(config, self.heads)
        found = calibration.sample(
            inputs(texts.load(part, own, examples).train),
            count=int(self.calibrated["texts"]),
            seed=int(self.calibrated["seed"]),
        )
        if found.digest != self.calibrated["sha256"]:
            raise DeployedError(
                f"{self.path}: it was calibrated on other texts of {', '.join(self.heads)} than"
                " there are now. Name the same file with --texts, or data with --config."
            )
        return found

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


def deployed(path: Path) -> Deployed:
    """Read a bundle whose quantisation is to be kept.

    Raises:
        BundleError: when it cannot be read or trusted.
        DeployedError: when it is not quantised, or does not say how.
    """
    manifest = read(path).manifest
    calibrated = manifest.provenance.get("calibration")
    calibrated = calibrated if isinstance(calibrated, Mapping) else {}
    known = {"texts", "seed", "sha256"} <= calibrated.keys()
    if manifest.gate is None or manifest.graphs[0].precision != "int8" or not known:
        raise DeployedError(
            f"{path}: expected an int8 bundle of 'polyhead export', which says how it was"
            " calibrated; found none."
        )
    heads = tuple(calibrated.get("heads", manifest.heads))
    return Deployed(path, manifest, manifest.gate, calibrated, heads)


def _only(config: Config, heads: Sequence[str]) -> Config:
    """A configuration with some heads and their data."""
    kept = {name: head for name, head in config.heads.items() if name in heads}
    of_others = {head.data for head in config.heads.values()} - {h.data for h in kept.values()}
    data = {name: source for name, source in config.data.items() if name not in of_others}
    return replace(config, heads=kept, data=data)


def _data(description: Description, heads: Sequence[str]) -> dict[str, str]:
    sources = set(_only(description.config, heads).data)
    return {
        key: digest
        for key, digest in description.data.items()
        if key.rpartition(".")[0] in {*sources, *heads}
    }
