"""The model card: README.md of a bundle, generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyhead.bundle import EncoderInfo, Graph, HeadQuality
from polyhead.heads import HeadSpec


def card(
    encoder: EncoderInfo,
    graph: Graph,
    heads: Mapping[str, HeadSpec],
    quality: Mapping[str, HeadQuality],
    *,
    further: Sequence[Graph] = (),
) -> str:
    """Markdown that says what the bundle answers, how well, and how to use it."""
    lines = [
        f"# A polyhead bundle: {', '.join(heads)}",
        "",
        f"One pass of {encoder.name} ({encoder.family}, {encoder.layers} layers,"
        f" up to {encoder.max_tokens} tokens) answers all heads. {graph.precision} graph,"
        f" {graph.size / 1e6:.1f} MB, made for {graph.target}.",
        "",
        "```python",
        "import polyhead",
        "",
        'engine = polyhead.load("bundle/")',
        'print(engine("some text"))',
        "```",
        "",
        "| head | kind | labels |",
        "|---|---|---|",
        *(
            f"| {name} | {spec.kind} | {', '.join(spec.labels) or '–'} |"
            for name, spec in heads.items()
        ),
        "",
        "Measured at export, the PyTorch model and this graph on the same texts. Agreement is the"
        " share of texts with the same decision; for embeddings, the mean cosine; for numbers, the"
        " concordance.",
        "",
        "| head | metric | split | texts | PyTorch | this graph | agreement | logit error |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {q.metric or '–'} | {q.split} | {q.texts} | {_figure(q.fp32)}"
            f" | {_figure(q.exported)} | {q.agreement:.4f} | {q.max_logit_error:.2g} |"
            for name, q in quality.items()
        ),
        "",
        *_further(further),
        "`polyhead verify` checks the files and the trained model's golden answers;"
        " `manifest.json` has versions, digests and settings.",
    ]
    return "\n".join(lines) + "\n"


def _further(graphs: Sequence[Graph]) -> list[str]:
    if not graphs:
        return []
    rows = [
        f"| `{g.file}` | {g.precision} | {g.layout} | {g.target} | {', '.join(g.heads)}"
        f" | {g.size / 1e6:.1f} |"
        for g in graphs
    ]
    lines = ["Further graphs:", "", "| file | precision | layout | for | heads | MB |"]
    lines += ["|---|---|---|---|---|---|", *rows, ""]
    if any(g.target == "ort-cuda" for g in graphs):
        lines += [
            "The graph for CUDA was compared with the PyTorch model on the CPU provider. It was not"
            " measured on a GPU.",
            "",
        ]
    return lines


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
