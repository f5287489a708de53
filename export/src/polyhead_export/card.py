"""The model card: README.md of a bundle, generated."""

from __future__ import annotations

from collections.abc import Mapping

from polyhead.bundle import EncoderInfo, Graph, HeadQuality
from polyhead.heads import HeadSpec


def card(
    encoder: EncoderInfo,
    graph: Graph,
    heads: Mapping[str, HeadSpec],
    quality: Mapping[str, HeadQuality],
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
        "`polyhead verify` checks the files and the trained model's golden answers;"
        " `manifest.json` has versions, digests and settings.",
    ]
    return "\n".join(lines) + "\n"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
