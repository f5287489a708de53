"""The model card: README.md of a bundle, generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polyhead import Prediction
from polyhead.bundle import Certificate, Gate, Graph, HeadQuality, Manifest
from polyhead.bundle.manifest import SPECIAL_TOKENS
from polyhead.cli.output import as_markdown, listed, markdown_table
from polyhead.heads import HeadSpec
from polyhead.system.shorten import cut
from polyhead.text.inputs import KINDS
from polyhead_export import gate as gates
from polyhead_export import temperatures
from polyhead_export.card_facts import CardFacts, today
from polyhead_export.front_matter import front_matter
from polyhead_models.checkpoint import SHRUNK

_LONGEST = 120  # characters of an example's answer


def card(manifest: Manifest, facts: CardFacts) -> str:
    """Markdown that says what the bundle answers, how well, and how to use it; then it is yours."""
    encoder, heads, (graph, *further) = manifest.encoder, manifest.heads, manifest.graphs
    gate, certificate, picture = manifest.gate, manifest.certificate, manifest.picture
    assert gate is not None
    assert certificate is not None
    assert picture is not None
    precisions = [each.precision for each in manifest.graphs]
    lines = [
        front_matter(encoder.name, precisions, heads, manifest.quality, facts),
        f"# A polyhead bundle: {as_markdown(', '.join(heads))}",
        "",
        f"One pass of {as_markdown(encoder.name)} ({encoder.family}, {encoder.layers} layers,"
        f" up to {encoder.max_tokens} tokens) answers all heads. {graph.precision} graph,"
        f" {graph.size / 1e6:.1f} MB, made for {graph.target}. Special tokens in texts are read as"
        f" {SPECIAL_TOKENS[manifest.special_tokens]}.",
        "",
        "```python",
        "import polyhead",
        "",
        'engine = polyhead.load("bundle/")',
        'print(engine("some text"))',
        "```",
        "",
        markdown_table(
            ["head", "kind", "reads", "labels"],
            [
                [n, spec.kind, KINDS[spec.input], len(spec.labels) or None]
                for n, spec in heads.items()
            ],
        ),
        "",
        *_shrunk(manifest.provenance.get(SHRUNK)),
        *_labels(heads),
        *_examples(facts.examples),
        *_data(facts),
        *_quality(manifest.quality, picture.file),
        *_gate(manifest.quality, gate, heads),
        *temperatures.section(manifest.reliability, heads),
        *_certificate(certificate),
        "",
        *_further(further),
        "`polyhead verify` checks the files and the trained model's golden answers, with"
        " `--stability` batches and threads on your machine; `manifest.json` has versions, digests"
        " and settings.",
        "",
        "This page is yours to edit: no digest covers it. `license` and `language` belong into its"
        " first lines; under `[card]` of the configuration they outlast the next export.",
    ]
    return "\n".join(lines) + "\n"


def _shrunk(found: Mapping[str, Any] | None) -> list[str]:
    """What a student was made from, and what that cost each head on validation."""
    if found is None:
        return []
    before, after = (
        f"{shape['layers']} layers of {shape['ffn']} neurons and {shape['attention_heads']}"
        " attention heads"
        for shape in (found["teacher"]["shape"], found["student"]["shape"])
    )
    rows = [
        [head, v["metric"], v["teacher"], v["student"], f"{100 * v['drop']['value']:.1f}"]
        for head, v in found["heads"].items()
        if v["passed"]
    ]
    return [
        f"Shrunk by `polyhead shrink` from a trained model: {before} became {after}.",
        "",
        markdown_table(["head", "metric", "before", "after", "points lost"], rows),
        "",
    ]


def _labels(heads: Mapping[str, HeadSpec]) -> list[str]:
    """As paragraphs: hundreds of labels in a cell make a table that nobody can read."""
    found = []
    for name, spec in heads.items():
        if spec.labels:
            found += [f"**{as_markdown(name)}**: {as_markdown(', '.join(spec.labels))}", ""]
    return found


def _examples(predictions: Sequence[Prediction]) -> list[str]:
    found = []
    for prediction in predictions:
        texts = [text for text in (prediction.query, prediction.text) if text is not None]
        found += [f"> “{as_markdown('” · “'.join(texts))}”", ""]
        answers = ((n, cut(str(each), _LONGEST)) for n, each in prediction.results.items())
        found += [f"- {as_markdown(name)}: {as_markdown(answer)}" for name, answer in answers]
        found.append("")
    return ["## Example answers", "", *found] if found else []


def _data(facts: CardFacts) -> list[str]:
    """What it learnt from, when it was exported, and how good it is on the test split."""
    rows = [[name, *counts] for name, counts in facts.texts.items()]
    lines = [f"Exported on {today()}.", ""]
    if rows:
        lines += [markdown_table(["source", "training texts", "validation texts"], rows), ""]
    tested = [
        [name, f.texts, metric, value]
        for name, f in facts.test.items()
        for metric, value in f.figures.items()
    ]
    if tested:
        lines += ["On the test split, this graph:", ""]
        lines += [markdown_table(["head", "texts", "metric", "value"], tested), ""]
    return ["## Data", "", *lines]


def _quality(quality: Mapping[str, HeadQuality], picture: str) -> list[str]:
    return [
        "## Against the PyTorch model",
        "",
        "Measured at export, both models on the same texts. The drop is in points; in brackets are"
        " 95% confidence bounds, each one-sided. A `tokens` head decides about spans, a"
        " `multilabel` head about labels, others about texts. Near ties of the PyTorch model are"
        " counted apart. Embeddings count as changed below a cosine of 0.99, of the"
        " texts and of their first word or two; for numbers the share is 1 minus the"
        " concordance. The agreement of embeddings is their mean cosine.",
        "",
        markdown_table(
            [
                *("head", "metric", "split", "texts", "PyTorch", "this graph", "drop"),
                *("agreement", "decisions changed", "near ties", "logit error, largest", "mean"),
            ],
            [
                [
                    *(name, q.metric or "–", q.split, str(q.texts)),
                    *(_metric(q.fp32), _metric(q.exported), q.drop_text),
                    *(f"{q.agreement:.4f}", q.changed_text, q.near_ties_text),
                    *(f"{q.max_logit_error:.2g}", f"{q.mean_logit_error or 0:.2g}"),
                ]
                for name, q in quality.items()
            ],
        ),
        "",
        f"![Metrics of both models, drops and changed decisions]({picture})",
        "",
    ]


def _gate(quality: Mapping[str, HeadQuality], gate: Gate, names: Iterable[str]) -> list[str]:
    remarks = gates.remarks(quality, gate, names)
    return [
        f"Allowed were {gate.max_drop:g} points and {gate.max_flips:g}% of the decisions, head by"
        " head; a head passes where the bounds are within, fails where a lower one is beyond, and"
        f" is uncertain otherwise. Near ties are closer than {gate.tie_margin:g}. What was tried"
        " (drop in points, decisions changed in percent); this graph is"
        f" {as_markdown(gate.attempt.name)}:",
        "",
        gates.attempts_table(gate.attempts, markdown_table),
        "",
        *(f"- {as_markdown(remark)}" for remark in remarks),
        *([""] if remarks else []),
    ]


def _certificate(found: Certificate) -> list[str]:
    return [
        "## Batches and threads",
        "",
        f"{found.texts} texts in batches of {listed(found.batch_sizes)} with other texts of their"
        f" length, and with {listed(found.threads)} threads: the logits are the same to the bit"
        f" ({found.cpu}, onnxruntime {found.onnxruntime}).",
    ]


def _further(graphs: Sequence[Graph]) -> list[str]:
    if not graphs:
        return []
    rows = [
        [
            *(g.file, g.precision, g.layout, g.target),
            *(", ".join(g.heads), f"{g.size / 1e6:.1f}"),
        ]
        for g in graphs
    ]
    header = ["file", "precision", "layout", "for", "heads", "MB"]
    lines = ["Further graphs:", "", markdown_table(header, rows), ""]
    if any(g.target == "ort-cuda" for g in graphs):
        lines += [
            "The graph for CUDA was compared with the PyTorch model on the CPU provider. It was not"
            " measured on a GPU.",
            "",
        ]
    return lines


def _metric(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
