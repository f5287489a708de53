"""Show what a bundle holds: heads, labels, precision, sizes, measured quality, certificate.

Example:
  polyhead inspect bundle/
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from polyhead.bundle import Bundle, Certificate, FileEntry, Gate, Graph, Manifest, read_parts
from polyhead.bundle.manifest import MANIFEST, SPECIAL_TOKENS
from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead inspect`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead inspect`."""
    bundles = read_parts(arguments.bundle)
    if arguments.json:
        manifest = (arguments.bundle / MANIFEST).read_text(encoding="utf-8")
        output.write_json(json.loads(manifest))
    else:
        pages = [_page(bundle) for bundle in bundles]
        if bundles[0].cascade:
            title = "cascade: the first model's answer stands from a confidence of"
            rows = list(bundles[0].cascade.items())
            pages.append(f"{title}\n{output.table(['head', 'threshold'], rows)}")
        output.write("\n\n".join(pages))
    return 0


def _page(bundle: Bundle) -> str:
    manifest = bundle.manifest
    encoder = manifest.encoder
    sections = [
        f"{bundle.path}: bundle format {manifest.version}\n"
        + output.paragraph(
            f"encoder {encoder.name} ({encoder.family}, {encoder.layers} layers of"
            f" {encoder.hidden_size}, up to {encoder.max_tokens} tokens),"
            f" fingerprint {encoder.fingerprint[:12]}"
        )
        + f"\nspecial tokens in texts are read as {SPECIAL_TOKENS[manifest.special_tokens]}",
        output.table(
            ["file", "MB", "SHA-256", "holds"],
            [
                [
                    entry.file,
                    f"{entry.size / 1e6:.2f}",
                    entry.sha256[:12] if entry in manifest.checked else None,
                    _holds(manifest, entry),
                ]
                for entry in manifest.files
            ],
        ),
        output.table(
            ["head", "kind", "reads", "layers", "pooling", "labels"],
            [
                [name, spec.kind, spec.input, spec.layers, spec.pooling, len(spec.labels) or None]
                for name, spec in manifest.heads.items()
            ],
        ),
        *_labels(manifest),
    ]
    if manifest.quality:
        sections.append(_quality(manifest))
    if manifest.gate is not None:
        sections.append(_gate(manifest.gate))
    sections.append(_certificate(manifest.certificate))
    return "\n\n".join(sections)


def _labels(manifest: Manifest) -> list[str]:
    """The labels of each head that has some, in lines that a terminal holds."""
    found = []
    for name, spec in manifest.heads.items():
        if spec.labels:
            title = output.paragraph(f"labels of {name}:")
            found.append(f"{title}\n{output.paragraph(', '.join(spec.labels), '  ')}")
    return found


def _holds(manifest: Manifest, entry: FileEntry) -> str:
    if isinstance(entry, Graph):
        return f"{entry.precision} graph, {entry.layout} layout, for {entry.target}"
    decoders = {
        graph.file: f"{graph.precision} graph, {part} of the decoder of {head}"
        for head, graphs in manifest.decoders.items()
        for part, graph in (("cross", graphs.cross), ("step", graphs.step))
    }
    known = decoders | {
        manifest.tokenizer.file: "tokenizer",
        manifest.golden.file: "golden answers",
        manifest.card.file: "model card, yours to edit",
    }
    picture = manifest.picture is not None and entry.file == manifest.picture.file
    return known.get(entry.file, "picture of the model card" if picture else "calibration")


def _quality(manifest: Manifest) -> str:
    """In two tables: one would be too wide for a terminal."""
    found = manifest.quality
    splits = dict.fromkeys(q.split for q in found.values())
    return "\n\n".join(
        [
            f"measured at export on {output.listed(splits)}:",
            output.table(
                ["head", "metric", "texts", "PyTorch", "exported", "drop (95% bounds)"],
                [
                    [name, q.metric, q.texts, q.fp32, q.exported, q.drop_text]
                    for name, q in found.items()
                ],
            ),
            output.table(
                ["head", "agreement", "changed (95% bounds)", "near ties", "largest error", "mean"],
                [
                    [
                        *(name, q.agreement, q.changed_text, q.near_ties_text),
                        *(q.max_logit_error, q.mean_logit_error),
                    ]
                    for name, q in found.items()
                ],
            ),
        ]
    )


def _gate(gate: Gate) -> str:
    return output.paragraph(
        f"gate: at most {gate.max_drop:g} points of a metric lost and {gate.max_flips:g}% of the"
        f" decisions changed; passed with {gate.attempt.name} (attempt"
        f" {gate.attempts.index(gate.attempt) + 1})"
        + "".join(f"; {head} is uncertain" for head in gate.attempt.uncertain)
    )


def _certificate(found: Certificate | None) -> str:
    if found is None:
        return "certificate: none"
    result = "the same to the bit" if found.passed else f"off by {found.max_difference:.2g}"
    return output.paragraph(
        f"certificate: logits of {found.texts} texts in batches of"
        f" {output.listed(found.batch_sizes)} and with {output.listed(found.threads)} threads are"
        f" {result} ({found.graph}, {found.cpu}, onnxruntime {found.onnxruntime})"
    )
