"""An ONNX folder as a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead import __version__
from polyhead.bundle import EncoderInfo, Graph, Manifest, digest, writer
from polyhead.bundle.manifest import FORMAT, VERSION
from polyhead.cli.output import as_markdown
from polyhead.engine import Engine
from polyhead.errors import SourceError
from polyhead.heads import HeadSpec
from polyhead.inference.session import OnnxSession
from polyhead.text.tokenizer import Tokenizer
from polyhead_export.card_facts import CardFacts
from polyhead_export.front_matter import front_matter
from polyhead_export.golden import write_golden
from polyhead_export.importing import graph as graphs
from polyhead_export.importing import head as heads
from polyhead_export.importing import trial
from polyhead_export.importing.graph import MASK, ForeignGraph, graph_of
from polyhead_export.importing.head import FolderHead
from polyhead_models.importing import ImportOptions, tokenizing
from polyhead_models.importing.source import Source

# Of a head's largest logit: int8 kernels of another CPU may round in another way.
_TOLERANCE = {"fp32": 1e-3, "int8": 0.5}


@dataclass(frozen=True)
class ImportedBundle:
    """Outcome of `import_folder`.

    Attributes:
        path: of the bundle.
        name: of its head.
        spec: of its head.
        graph: what the manifest says of the graph.
        compared: texts and pairs whose token ids were compared with AutoTokenizer's.
    """

    path: Path
    name: str
    spec: HeadSpec
    graph: Graph
    compared: int


def import_folder(path: Path, target: Path, options: ImportOptions) -> ImportedBundle:
    """Make a bundle of an ONNX folder; the graph's weights and operators stay as they are.

    Token ids are compared with those of transformers. The golden answers are those of the graph
    itself, since there is no other model to ask. What the
    user should know, such as labels without names, is logged as a warning.

    Args:
        path: a folder of Optimum, transformers.js or sentence-transformers, or one of its graphs.
        target: folder of the bundle; an older bundle is replaced.
        options: what the files leave open.

    Raises:
        SourceError: when a file is missing, or inputs, outputs, sizes or labels are such that
            polyhead cannot serve them.
        GraphError: for weights outside the graph, or operators of other domains.
        BundleError: when something else is at `target`, or the tokenizer cannot be read.
    """
    file, source = _folder(path)
    source.review(options)
    graph = graphs.read(file)
    head = heads.read(source, graph, options)
    tokenizer, reference = tokenizing.read(source, options)
    compared = tokenizing.check(tokenizer, reference, where=source.name)
    with writer.staged(target) as staged:
        made = staged / f"model.{graph.precision}.onnx"
        session = trial.run(made, head, tokenizer, graph)
        (staged / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
        _write_golden(staged, session, head, tokenizer, {made.name: _TOLERANCE[graph.precision]})
        (staged / "README.md").write_text(_card(source, graph, head), encoding="utf-8")
        manifest = _manifest(staged, made, source, graph, head, session.inputs)
        writer.write_manifest(staged, manifest)
    return ImportedBundle(target, head.name, head.spec, manifest.graphs[0], compared)


def _folder(path: Path) -> tuple[Path, Source]:
    """The graph, and what the folder says of it."""
    graph = graph_of(path)
    if graph is None:
        raise SourceError(f"{path}: no model.onnx and no onnx/model*.onnx here.")
    top = path
    if path.is_file():
        top = path.parent.parent if path.parent.name == "onnx" else path.parent
    return graph, Source.at(top, str(top))


def _write_golden(
    staged: Path,
    session: OnnxSession,
    head: FolderHead,
    tokenizer: Tokenizer,
    least: Mapping[str, float],
) -> None:
    spec = head.spec
    with Engine(session, tokenizer, {head.name: spec}, max_tokens=spec.max_tokens) as engine:
        exported = dict.fromkeys(least, engine)
        write_golden(staged / "golden.json", engine, exported, trial.texts(spec), least=least)


def _manifest(
    staged: Path,
    file: Path,
    source: Source,
    graph: ForeignGraph,
    head: FolderHead,
    inputs: tuple[str, ...],
) -> Manifest:
    config = source.config
    return Manifest(
        format=FORMAT,
        version=VERSION,
        encoder=EncoderInfo(
            name=_encoder_name(source),
            family=str(config.get("model_type") or "unknown"),
            fingerprint=graph.original,
            hidden_size=_number(config, "hidden_size", "dim", "d_model"),
            layers=_number(config, "num_hidden_layers", "n_layers", "num_layers"),
            max_tokens=head.spec.max_tokens,
        ),
        tokenizer=digest.entry(staged / "tokenizer.json"),
        golden=digest.entry(staged / "golden.json"),
        card=digest.entry(staged / "README.md"),
        graphs=(
            Graph(
                **vars(digest.entry(file)),
                precision=graph.precision,
                layout="padded" if MASK in inputs else "exact",
                target="onnx",
                heads=(head.name,),
                inputs=inputs,
            ),
        ),
        heads={head.name: head.spec},
        provenance={
            "polyhead": __version__,
            "imported_from": graph.path.name,
            "architecture": source.architecture,
            "graph_sha256": graph.original,
        },
        special_tokens=source.special_tokens,
    )


def _encoder_name(source: Source) -> str:
    return str(source.config.get("_name_or_path") or source.top.resolve().name)


def _number(config: Any, *names: str) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)


def _card(source: Source, graph: ForeignGraph, head: FolderHead) -> str:
    own = {head.name: head.spec}
    return front_matter(_encoder_name(source), [graph.precision], own, {}, CardFacts()) + (
        f"# {as_markdown(head.name)}\n\nImported from"
        f" `{source.top.resolve().name}/{graph.path.name}`"
        f" ({source.architecture or 'unnamed class'}): one head of the kind {head.spec.kind}. The"
        " golden answers are the graph's own.\n"
    )
