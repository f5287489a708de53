"""Show what a bundle holds: heads, labels, precision, sizes and measured quality.

Example:
  polyhead inspect bundle/
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polyhead.bundle import Bundle, read
from polyhead.cli import output
from polyhead.strict import plain


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead inspect`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead inspect`."""
    bundle = read(arguments.bundle)
    if arguments.json:
        output.write_json(plain(bundle.manifest))
    else:
        output.write(_page(bundle))
    return 0


def _page(bundle: Bundle) -> str:
    manifest = bundle.manifest
    encoder = manifest.encoder
    sections = [
        f"{bundle.path}: bundle format {manifest.version}\n"
        f"encoder {encoder.name} ({encoder.family}, {encoder.layers} layers of"
        f" {encoder.hidden_size}, up to {encoder.max_tokens} tokens),"
        f" fingerprint {encoder.fingerprint[:12]}",
        output.table(
            ["file", "MB", "SHA-256", "holds"],
            [
                [entry.file, f"{entry.size / 1e6:.2f}", entry.sha256[:12], _holds(bundle, i)]
                for i, entry in enumerate(manifest.files)
            ],
        ),
        output.table(
            ["head", "kind", "layers", "pooling", "labels"],
            [
                [name, spec.kind, spec.layers, spec.pooling, ", ".join(spec.labels)]
                for name, spec in manifest.heads.items()
            ],
        ),
    ]
    if manifest.quality:
        sections.append(
            output.table(
                ["head", "metric", "split", "texts", "PyTorch", "exported", "agreement"],
                [
                    [name, q.metric, q.split, q.texts, q.fp32, q.exported, q.agreement]
                    for name, q in manifest.quality.items()
                ],
            )
        )
    return "\n\n".join(sections)


def _holds(bundle: Bundle, index: int) -> str:
    manifest = bundle.manifest
    names = ["tokenizer", "golden answers", "model card"]
    if index < len(names):
        return names[index]
    graph = manifest.graphs[index - len(names)]
    return f"{graph.precision} graph, {graph.layout} layout, for {graph.target}"
