"""A bundle's answers on this CPU and on one that qemu-user emulates, side by side.

    python tests/e2e/emulated.py BUNDLE                 # logits and decisions as JSON
    python tests/e2e/emulated.py BUNDLE --cpu Haswell   # how far the emulated ones are from them

qemu emulates AVX2 since 7.2 and no AVX512. It hands the host's /proc/cpuinfo through, which
polyhead reads, while onnxruntime asks the CPU itself; so the emulated process gets another one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import polyhead
from polyhead.heads import decoder
from polyhead.inference.int8_kernels import int8_kernel
from polyhead.system import cpu as cpus
from polyhead.system.onnx_runtime import ort

QEMU = "qemu-x86_64"
PRECISION = "session.x64quantprecision"


def texts_of(bundle: Path, rows: Path | None = None) -> list[Any]:
    """Of a file with one JSON object a line; the bundle's golden texts where there is none."""
    if rows is None:
        return [example["text"] for example in _json(bundle / "golden.json")["examples"]]
    with rows.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def answers(bundle: Path, texts: Sequence[Any], precision: bool | None = None) -> dict[str, Any]:
    """Logits and decisions by head, on the CPU that runs this.

    Args:
        bundle: its folder.
        texts: each no longer than the encoder reads.
        precision: whether onnxruntime is asked for exact integer kernels; None as polyhead decides.
    """
    options = None if precision is None else _options(precision)
    with polyhead.load(bundle, threads=1, session_options=options) as engine:
        logits, encodings = engine.logits(texts), engine.encode(texts)
        faces = {head: decoder(head, spec) for head, spec in engine.heads.items()}
    return {
        "saturates": int8_kernel(cpus.describe()).saturates,
        "logits": {head: [row.tolist() for row in rows] for head, rows in logits.items()},
        "decisions": {
            head: [
                repr(face.decode(*row).decision)
                for row in zip(logits[head], encodings, strict=True)
            ]
            for head, face in faces.items()
        },
    }


def emulated(cpu: str, arguments: Sequence[str], *, flags: str, seconds: float) -> Any:
    """What Python prints as JSON on another CPU.

    Args:
        cpu: qemu's name of it.
        arguments: of the interpreter.
        flags: of /proc/cpuinfo there.
        seconds: after which it is stopped.
    """
    with TemporaryDirectory() as folder:  # what it has is found in place of the host's
        cpuinfo = Path(folder, "proc", "cpuinfo")
        cpuinfo.parent.mkdir()
        cpuinfo.write_text(f"model name : {cpu}\nflags : {flags}\n", encoding="utf-8")
        done = subprocess.run(
            [QEMU, "-L", folder, "-cpu", cpu, sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            timeout=seconds,
        )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return json.loads(done.stdout)


def difference(one: dict[str, Any], other: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By head: texts, largest difference of a logit, texts with the same bits and changed ones."""
    found = {}
    for head, rows in one["logits"].items():
        pairs = zip(rows, other["logits"][head], strict=True)
        apart = [float(np.abs(np.subtract(*pair)).max(initial=0.0)) for pair in pairs]
        decisions = zip(one["decisions"][head], other["decisions"][head], strict=True)
        found[head] = {
            "texts": len(apart),
            "largest": max(apart),
            "median": float(np.median(apart)),
            "same_bits": apart.count(0.0),
            "changed": sum(a != b for a, b in decisions),
        }
    return found


def _options(precision: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(PRECISION, str(int(precision)))
    return options


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="A bundle's answers here and on an emulated CPU.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--texts", type=Path, help="one JSON object with text a line; else golden")
    parser.add_argument("--limit", type=int, help="of the texts")
    parser.add_argument(
        "--precision", type=int, choices=(0, 1), help=f"{PRECISION}; else polyhead's"
    )
    parser.add_argument("--cpu", help="qemu's name: compare with it, which has --flags")
    parser.add_argument("--flags", default="avx avx2 fma", help="in its /proc/cpuinfo")
    parser.add_argument("--seconds", type=float, default=3600, help="the most for the emulation")
    asked = parser.parse_args(arguments)
    texts = texts_of(asked.bundle, asked.texts)[: asked.limit]
    if asked.cpu is None:
        precision = None if asked.precision is None else asked.precision == 1
        found = answers(asked.bundle, texts, precision)
    else:
        same = [__file__, str(asked.bundle)]
        for name in ("texts", "limit", "precision"):
            if (value := getattr(asked, name)) is not None:
                same += [f"--{name}", str(value)]
        there = emulated(asked.cpu, same, flags=asked.flags, seconds=asked.seconds)
        found = difference(answers(asked.bundle, texts), there)
    json.dump(found, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])
