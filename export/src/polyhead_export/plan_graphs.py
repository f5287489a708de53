"""The exact graph of a checkpoint, as one plan after another makes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyhead import Engine
from polyhead.text.encoding import Input
from polyhead_export import graphs, variants
from polyhead_export.engines import engine_over
from polyhead_export.plans import FLOAT
from polyhead_export.quantisation.calibrate import Calibrated, Plan, quantised
from polyhead_export.settings import ExportSettings
from polyhead_models.checkpoint import Checkpoint

_ROUNDS = 5


class PlanGraphs:
    """Writes the graphs of plans into the folder of a bundle, and opens them."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        calibrated: Calibrated | None,
        folder: Path,
        settings: ExportSettings,
    ) -> None:
        """The float graph has to be in the folder already.

        Args:
            checkpoint: that is exported.
            calibrated: how to quantise it; None where it is not.
            folder: of the bundle.
            settings: what int8 graphs are lowered to, and whether they are kept before that.
        """
        self._checkpoint, self._calibrated = checkpoint, calibrated
        self._folder, self._settings = folder, settings
        self._saved: Plan | None = None

    def engine(self, plan: Plan) -> Engine:
        """An engine over the graph of a plan, which is in the folder then."""
        if self._calibrated is not None and not plan.float_graph and plan != self._saved:
            self._save(self._calibrated, plan, self._folder / plan.file)
            self._saved = plan
        return self._open(self._folder / plan.file)

    def keep(self, plan: Plan) -> None:
        """Leave the graph of one plan in the folder, and no other that was not asked for."""
        self.engine(plan).close()
        kept = {plan.file, *([FLOAT.file] if "fp32" in self._settings.also else [])}
        made = {Plan().file, FLOAT.file, *([variants.QDQ] if plan.float_graph else [])}
        for file in made - kept:
            (self._folder / file).unlink(missing_ok=True)

    def slowdown(self, plan: Plan, first: Plan, texts: Sequence[Input]) -> float:
        """How many times the CPU time of the plan `first` a single text takes, measured here.

        Text by text the least of some rounds, in which both graphs take turns: without what other
        work on the machine adds.
        """
        assert self._calibrated is not None
        path = self._folder / "first.onnx"
        self._save(self._calibrated, first, path)
        self._saved = None  # its graph in standard ONNX is the other one now
        with self._open(path) as other, self.engine(plan) as own:
            took = np.array(
                [
                    [[_seconds(engine, text) for engine in (own, other)] for _ in range(_ROUNDS)]
                    for text in texts
                ]
            )
        path.unlink()
        own_seconds, other_seconds = took.min(axis=1).sum(axis=0).tolist()
        return float(own_seconds / other_seconds)

    def _open(self, path: Path) -> Engine:
        return engine_over(self._checkpoint, path, heads=self._checkpoint.model.specs)

    def _save(self, calibrated: Calibrated, plan: Plan, path: Path) -> None:
        model = quantised(calibrated, plan)
        if self._settings.target == "ort-cpu":
            if "onnx" in self._settings.also:
                graphs.save(model, self._folder / variants.QDQ)
            model = graphs.lowered(model)
        graphs.save(model, path)


def _seconds(engine: Engine, text: Input) -> float:
    start = time.process_time()
    engine.logits([text])
    return time.process_time() - start
