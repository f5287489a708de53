"""A bundle's answers on this CPU and on ARM CPUs that qemu-user emulates, as a table.

    python tests/e2e/aarch64.py BUNDLE --texts FILE --limit 100

By head: texts with the decision of this CPU, and the largest difference of a logit from it.

Makes an aarch64 root in a temporary folder: Debian's Python, and the lean runtime from wheels.
Nothing in it is run while it is made, so that it needs neither root's rights nor binfmt, but:
qemu-user, and Debian's apt-get and dpkg-deb with package sources that have arm64. 300 MB, and for
MiniLM half a second to two seconds a text and CPU.

onnxruntime takes the features of an ARM CPU from the kernel, qemu says which. What it reads of
/proc and /sys besides would be the host's and crash it; so the root has its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emulated import answers, difference, texts_of

ROOT = Path(__file__).parents[2]
QEMU = "qemu-aarch64"
CPUS = ("cortex-a72", "neoverse-n1", "max,sve=off,sme=off", "max")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
SHOWN = ("polyhead", "numpy", "onnxruntime", "tokenizers")
HOLD = "hold"
SECONDS = 3600  # the most for one command there

# Bits of AT_HWCAP (16) and AT_HWCAP2 (26), by the kernel's names (arch/arm64 uapi/asm/hwcap.h).
FEATURES = """
import ctypes, json
ask = ctypes.CDLL(None).getauxval
ask.restype, ask.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
bits = {"asimd": (16, 1), "asimddp": (16, 20), "sve": (16, 22), "i8mm": (26, 13), "sme": (26, 23)}
print(json.dumps([name for name, (kind, bit) in bits.items() if ask(kind) >> bit & 1]))
"""
CPUINFO = """processor : 0
Features : {features}
CPU implementer : 0x00
CPU architecture: 8
CPU variant : 0x0
CPU part : 0x000
CPU revision : 0
"""

# Mask and value of the instructions that multiply 8-bit integers (Arm ARM, C4.1).
PRODUCTS = {
    "SMLAL": (0xBFE0FC00, 0x0E208000),
    "UDOT": (0xBFC0F400, 0x2F80E000),
    "SDOT": (0xBFC0F400, 0x0F80E000),
    "UMMLA": (0xFFE0FC00, 0x6E80A400),
    "SMMLA": (0xFFE0FC00, 0x4E80A400),
    "UMMLA (SVE)": (0xFFE0FC00, 0x45C09800),
}


@dataclass(frozen=True)
class Machine:
    """An emulated CPU with the root that it runs.

    Attributes:
        root: folder.
        cpu: qemu's name.
    """

    root: Path
    cpu: str

    def python(self, *arguments: str, log: Path | None = None) -> Any:
        """What Python prints there as JSON.

        Args:
            arguments: of the interpreter.
            log: gets each instruction that qemu translated.
        """
        seen = () if log is None else ("-d", "in_asm", "-D", str(log))
        interpreter = str(self.root / "usr" / "bin" / "python3")
        done = subprocess.run(
            [QEMU, *seen, "-L", str(self.root), "-cpu", self.cpu, interpreter, *arguments],
            env={**os.environ, "PYTHONPATH": str(self.root / "site")},
            capture_output=True,
            timeout=SECONDS,
        )
        if not done.stdout:
            raise RuntimeError(f"{self.cpu}: {done.stderr.decode(errors='replace')}")
        return json.loads(done.stdout)

    def features(self) -> list[str]:
        """What the kernel would say; afterwards its /proc and /sys say so, too."""
        found: list[str] = self.python("-c", FEATURES)
        for file, text in {
            "proc/cpuinfo": CPUINFO.format(features=" ".join(found)),
            "sys/devices/system/cpu/possible": "0\n",
            "sys/devices/system/cpu/present": "0\n",
        }.items():
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            (self.root / file).write_text(text, encoding="utf-8")
        return found


def install(root: Path) -> None:
    """Make a root with Python and the checkout's runtime, at the versions of constraints.txt."""
    with TemporaryDirectory() as folder:
        for package in _packages(Path(folder)):
            subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
    version = (root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--target", str(root / "site")),
            *wheels_for(version),
            *("-c", str(ROOT / "constraints.txt"), str(ROOT / "runtime")),
        ],
        check=True,
    )


def wheels_for(version: str) -> list[str]:
    """Options of pip for wheels of aarch64 and a version of Python, such as 3.11."""
    platforms = [f"--platform={name}_aarch64" for name in PLATFORMS]
    return [*platforms, "--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]


def _packages(folder: Path) -> list[Path]:
    """Python and all that it needs, in a folder that apt takes for an empty machine's."""
    (folder / "status").touch()
    for name in ("lists", "archives"):
        (folder / name / "partial").mkdir(parents=True)
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "",
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    subprocess.run([*apt, "update"], check=True, stdout=sys.stderr)
    wanted = ["install", "--download-only", "--yes", "python3", "libstdc++6"]
    subprocess.run([*apt, *wanted], check=True, stdout=sys.stderr)
    return sorted((folder / "archives").glob("*.deb"))


def products(log: Path) -> str:
    """Instructions of PRODUCTS in a log of qemu."""
    words = {
        int(found[1], 16)
        for line in log.open(encoding="utf-8", errors="replace")
        if (found := re.match(r"0x[0-9a-f]+:  ([0-9a-f]{8}) ", line))
    }
    names = [
        name
        for name, (mask, value) in PRODUCTS.items()
        if any(word & mask == value for word in words)
    ]
    return ", ".join(names) or "none seen"


def compared(
    machines: Sequence[Machine], bundle: Path, arguments: Sequence[str], here: dict[str, Any]
) -> Iterator[dict[str, str]]:
    """A row of the table for each CPU.

    Args:
        machines: what to compare.
        bundle: its folder.
        arguments: of emulated.py.
        here: answers of this CPU.
    """
    logits: dict[str, Any] = {}
    for machine in machines:
        features = " ".join(machine.features())
        verified = machine.python("-m", "polyhead", "verify", "--json", str(bundle))
        log = machine.root / "log"
        script = str(Path(__file__).with_name("emulated.py"))
        there = machine.python(script, *arguments, log=log)
        logits[machine.cpu] = there["logits"]
        yield {
            "emulated CPU": machine.cpu,
            "features": features,
            "products of int8 by": products(log),
            "golden answers": HOLD if verified["passed"] else "DO NOT HOLD",
            "bits of": next(cpu for cpu, found in logits.items() if found == there["logits"]),
            **{
                head: f"{found['texts'] - found['changed']:.0f}, {found['largest']:.2g}"
                for head, found in difference(here, there).items()
            },
        }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="A bundle's answers here and on emulated ARM.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--texts", type=Path, help="one JSON object with text a line; else golden")
    parser.add_argument("--limit", type=int, default=100, help="of the texts (default 100)")
    parser.add_argument("--cpu", nargs="+", default=CPUS, help="qemu's names (default %(default)s)")
    asked = parser.parse_args(arguments)
    missing = [tool for tool in (QEMU, "apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"{', '.join(missing)} not found: this needs qemu-user, apt and dpkg (Debian).")
    same = [str(asked.bundle), "--limit", str(asked.limit)]
    same += [] if asked.texts is None else ["--texts", str(asked.texts)]
    here = answers(asked.bundle, texts_of(asked.bundle, asked.texts)[: asked.limit])
    with TemporaryDirectory() as folder:
        root = Path(folder)
        install(root)
        found = {each.name: each.version for each in distributions(path=[str(root / "site")])}
        sys.stdout.write(", ".join(f"{name} {found[name]}" for name in SHOWN) + "\n\n")
        machines = [Machine(root, cpu) for cpu in asked.cpu]
        rows: list[dict[str, str]] = []
        for row in compared(machines, asked.bundle, same, here):
            lines = [row.values()] if rows else [row, ["---"] * len(row), row.values()]
            sys.stdout.writelines(f"| {' | '.join(line)} |\n" for line in lines)
            sys.stdout.flush()
            rows.append(row)
    if any(row["golden answers"] != HOLD for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
