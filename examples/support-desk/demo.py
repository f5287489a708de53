"""Train, evaluate, export, verify and measure a support-desk model, from nothing, in minutes.

Every stage is a command of polyhead, printed before it runs. What is there already is kept.

Example:
  python examples/support-desk/demo.py -o build/demo
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead import PolyheadError, load
from polyhead.bundle import is_bundle, read
from polyhead.bundle.digest import sha256
from polyhead.cli import output
from polyhead_models import config as configuration
from polyhead_models.checkpoint import WEIGHTS
from polyhead_models.training import resumable

SOURCE = Path(__file__).resolve().parent
CONFIG = "demo.toml"
FILES = (CONFIG, "train.jsonl", "validation.jsonl", "test.jsonl")

SAMPLES = (
    "Hi, my Solano K7 kettle arrived on 3 May but leaks at the base. Order #58113-C. Zoë Krüger",
    "Why was I charged $49.99 twice this month?",
    "Honestly not bad at all: the new driver left the parcel exactly where I asked. Thank you!",
    "can u pls change the email on my account to li.na@example.org",
    "I will not be renewing. Cancel my subscription before 2024-06-01. Third time I ask!",
    "Does the Brevo Mini 2 work with a 110 V socket? I'm moving to Osaka in mid-June. 王小明",
)
"""Six messages that are in none of the files, for a look at the predictions."""

_TEXTS, _ROUNDS = 200, 5


class StageFailed(Exception):
    """The stage's own message is printed above."""


@dataclass(frozen=True)
class Demo:
    """The files of a demo in a folder.

    Attributes:
        folder: of data, checkpoint and bundle; what is there and up to date is kept.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """The training configuration."""
        return self.folder / "data" / CONFIG

    @property
    def checkpoint(self) -> Path:
        """The trained model."""
        return self.folder / "checkpoint"

    @property
    def bundle(self) -> Path:
        """The exported model."""
        return self.folder / "bundle"

    def run(self) -> None:
        """Run all stages; whatever is there and up to date is kept.

        Raises:
            StageFailed: when a stage fails.
        """
        self._copy_data()
        again = resumable(configuration.load(self.config), self.checkpoint)
        self._polyhead(
            ["train", self.config, "-o", self.checkpoint, "--resume" if again else "--overwrite"]
        )
        trained = self._json(["evaluate", self.checkpoint, self.config, "--baseline", "--json"])
        if self._exported():
            output.progress(f"{self.bundle}: already exported from this checkpoint; kept")
        else:
            self._polyhead(["export", self.checkpoint, "-o", self.bundle])
        self._polyhead(["verify", self.bundle])
        exported = self._json(["evaluate", self.bundle, self.config, "--json"])
        output.write("")
        self._show_predictions()
        self._show_metrics(trained, exported)
        output.write("\n(c) one message at a time against PyTorch\n")
        self._polyhead(
            [
                *("bench", "run", self.bundle, "--checkpoint", self.checkpoint),
                *("--texts", self.config.parent / "test.jsonl", "--limit", _TEXTS),
                *("--scenarios", "single", "--peers", "polyhead-int8,torch", "--rounds", _ROUNDS),
                *("--cache", self.folder / "cache", "-o", self.folder / "report"),
            ]
        )

    def _copy_data(self) -> None:
        self.config.parent.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(SOURCE / name, self.config.parent / name)

    def _exported(self) -> bool:
        if not is_bundle(self.bundle):
            return False
        try:
            provenance = read(self.bundle).manifest.provenance
        except PolyheadError:
            return False
        return bool(provenance.get("checkpoint_sha256") == sha256(self.checkpoint / WEIGHTS))

    def _polyhead(self, words: list[Any], *, capture: bool = False) -> str:
        arguments = [str(word) for word in words]
        output.progress(f"\n$ polyhead {shlex.join(arguments)}")
        sys.stdout.flush()
        done = subprocess.run(
            [sys.executable, "-m", "polyhead", *arguments],
            stdout=subprocess.PIPE if capture else None,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != 0:
            raise StageFailed(f"'polyhead {arguments[0]}' ended with exit code {done.returncode}.")
        return done.stdout or ""

    def _json(self, words: list[Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._polyhead(words, capture=True))
        return found

    def _show_predictions(self) -> None:
        output.write("(a) six messages that the model has never seen\n")
        with load(self.bundle) as engine:
            for prediction in engine.predict(SAMPLES):
                output.write(prediction.text)
                output.write("    " + str(prediction).replace("\n", "\n    ") + "\n")

    def _show_metrics(self, trained: dict[str, Any], exported: dict[str, Any]) -> None:
        quality = read(self.bundle).manifest.quality
        rows: list[list[object]] = []
        for head, measured in quality.items():
            metric = measured.metric
            if metric is None:
                rows.append([head, "cosine", None, 1.0, measured.agreement])
                continue
            measured_by = [trained["baseline"][head], trained["heads"][head]["figures"]]
            measured_by.append(exported["heads"][head]["figures"])
            rows.append([head, metric, *(values[metric] for values in measured_by)])
        output.write("(b) the test set: what each head reaches\n")
        output.write(output.table(["head", "metric", "TF-IDF", "PyTorch", "int8 bundle"], rows))


def main() -> int:
    """Run the demo; 1 where a stage failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("polyhead-demo"), metavar="DIR")
    with output.log_to_stderr():
        try:
            Demo(parser.parse_args().output).run()
        except StageFailed as problem:
            output.progress(str(problem))
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
