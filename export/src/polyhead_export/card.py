"""The model card: README.md of a bundle, generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from polyhead.bundle import Certificate, EncoderInfo, Gate, Graph, HeadQuality, Reliability
from polyhead.bundle.manifest import SPECIAL_TOKENS, SpecialTokens
from polyhead.cli.output import as_markdown, listed, markdown_table
from polyhead.heads import HeadSpec
from polyhead_export import gate as gates
from polyhead_export import temperatures


def card(
    encoder: EncoderInfo,
    graphs: Sequence[Graph],
    heads: Mapping[str, HeadSpec],
    quality: Mapping[str, HeadQuality],
    gate: Gate,
    certificate: Certificate,
    picture: str,
    *,
    special_tokens: SpecialTokens,
    reliability: Mapping[str, Reliability],
) -> str:
    """Markdown that says what the bundle answers, how well, and how to use it."""
    graph, *further = graphs
    lines = [
        f"# A polyhead bundle: {as_markdown(', '.join(heads))}",
        "",
        f"One pass of {as_markdown(encoder.name)} ({encoder.family}, {encoder.layers} layers,"
        f" up to {encoder.max_tokens} tokens) answers all heads. {graph.precision} graph,"
        f" {graph.size / 1e6:.1f} MB, made for {graph.target}. Special tokens in texts are read as"
        f" {SPECIAL_TOKENS[special_tokens]}.",
        "",
        "```python",
        "import polyhead",
        "",
        'engine = polyhead.load("bundle/")',
        'print(engine("some text"))',
        "```",
        "",
        markdown_table(
            ["head", "kind", "labels"],
            [[name, spec.kind, ", ".join(spec.labels) or "–"] for name, spec in heads.items()],
        ),
        "",
        *_quality(quality, picture),
        *_gate(quality, gate, heads),
        *temperatures.section(reliability, heads),
        *_certificate(certificate),
        "",
        *_further(further),
        "`polyhead verify` checks the files and the trained model's golden answers, with"
        " `--stability` batches and threads on your machine; `manifest.json` has versions, digests"
        " and settings.",
    ]
    return "\n".join(lines) + "\n"


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
    limits = gates.Limits(
        max_drop=gate.max_drop, max_flips=gate.max_flips, tie_margin=gate.tie_margin
    )
    remarks = gates.remarks(quality, gate.attempt, limits, names)
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
