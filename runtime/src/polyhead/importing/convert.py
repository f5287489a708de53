"""An ONNX folder as a bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead import __version__
from polyhead.bundle import EncoderInfo, Graph, Manifest, digest, writer
from polyhead.engine import Engine
from polyhead.errors import SourceError
from polyhead.heads import HeadSpec
from polyhead.importing import folder as folders
from polyhead.importing import graph as graphs
from polyhead.importing import head as heads
from polyhead.importing.folder import Folder
from polyhead.importing.graph import KNOWN_INPUTS, Foreign
from polyhead.importing.head import Head, Wishes
from polyhead.inference.session import OnnxSession
from polyhead.text.encoding import Input
from polyhead.text.tokenizer import Tokenizer

# int8 kernels of another CPU may round in another way.
TOLERANCE = {"fp32": 1e-3, "int8": 0.5}
TEXTS = ("A parcel was late.", "Anna lives in Oslo.", "", "né à 東京 👍")


@dataclass(frozen=True)
class Imported:
    """What was made.

    Attributes:
        path: of the bundle.
        name: of the head.
        spec: of the head.
        graph: what the manifest says of the graph.
    """

    path: Path
    name: str
    spec: HeadSpec
    graph: Graph


def import_folder(
    source: Path, target: Path, wishes: Wishes, *, note: Callable[[str], None]
) -> Imported:
    """Make a bundle of an ONNX folder; the graph's weights and operators stay as they are.

    The golden answers are those of the graph itself, since there is no other model to ask.

    Args:
        source: a folder of Optimum, transformers.js or sentence-transformers, or one of its graphs.
        target: folder of the bundle; an older bundle is replaced.
        wishes: what the files leave open.
        note: called with remarks for the user.

    Raises:
        SourceError: when a file is missing, or inputs, outputs, sizes or labels are such that
            polyhead cannot serve them.
        GraphError: for weights outside the graph, or operators of other domains.
        BundleError: when something else is at `target`, or the tokenizer cannot be read.
    """
    folder = folders.read(source)
    graph = graphs.read(folder.graph)
    head = heads.read(folder, graph, wishes, note)
    with writer.staged(target) as staged:
        file = staged / f"model.{graph.precision}.onnx"
        file.write_bytes(head.content)
        shutil.copyfile(folder.tokenizer, staged / "tokenizer.json")
        (staged / "golden.json").write_text(
            json.dumps(_golden(staged, file, head, graph.precision)), encoding="utf-8"
        )
        (staged / "README.md").write_text(_card(folder, head), encoding="utf-8")
        manifest = _manifest(staged, file, folder, graph, head)
        writer.write_manifest(staged, manifest)
    return Imported(target, head.name, head.spec, manifest.graphs[0])


def _golden(staged: Path, file: Path, head: Head, precision: str) -> dict[str, Any]:
    texts: list[Input] = list(TEXTS)
    if head.spec.input == "pair":
        texts = [("Where does Anna live?", text) for text in TEXTS]
    with Engine(
        OnnxSession(file),
        Tokenizer.from_file(staged / "tokenizer.json"),
        {head.name: head.spec},
        max_tokens=head.spec.max_tokens,
    ) as engine:
        found = engine.logits(texts)[head.name]
        labels = len(head.spec.labels)
        if head.spec.kind in ("classification.v1", "multilabel.v1") and found[0].shape != (labels,):
            raise SourceError(
                f"{file.name}: gives logits of the sizes {list(found[0].shape)} a text, expected"
                f" one for each of the {labels} labels."
            )
        answers = engine.predict(texts)
        examples = [
            {
                "text": text,
                "ids": encoding.ids.tolist(),
                "logits": {head.name: array.tolist()},
                "results": {head.name: answer[head.name].to_dict()},
            }
            for text, encoding, array, answer in zip(
                texts, engine.encode(texts), found, answers, strict=True
            )
        ]
    return {"tolerance": {file.name: {head.name: TOLERANCE[precision]}}, "examples": examples}


def _manifest(staged: Path, file: Path, folder: Folder, graph: Foreign, head: Head) -> Manifest:
    weights, config = digest.entry(file), folder.config
    original = hashlib.sha256(graph.content).hexdigest()
    return Manifest(
        format="polyhead-bundle",
        version=1,
        encoder=EncoderInfo(
            name=str(config.get("_name_or_path") or folder.path.resolve().name),
            family=str(config.get("model_type") or "unknown"),
            fingerprint=original,
            hidden_size=_number(config, "hidden_size", "dim", "d_model"),
            layers=_number(config, "num_hidden_layers", "n_layers", "num_layers"),
            max_tokens=head.spec.max_tokens,
        ),
        tokenizer=digest.entry(staged / "tokenizer.json"),
        golden=digest.entry(staged / "golden.json"),
        card=digest.entry(staged / "README.md"),
        graphs=(
            Graph(
                file=weights.file,
                sha256=weights.sha256,
                size=weights.size,
                precision=graph.precision,
                layout="padded" if KNOWN_INPUTS[1] in graph.inputs else "exact",
                target="onnx",
                heads=(head.name,),
                inputs=graph.inputs,
            ),
        ),
        heads={head.name: head.spec},
        provenance={
            "polyhead": __version__,
            "imported_from": folder.graph.name,
            "architecture": folder.architecture,
            "graph_sha256": original,
        },
    )


def _number(config: Any, *names: str) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)


def _card(folder: Folder, head: Head) -> str:
    return (
        f"# {head.name}\n\nImported from `{folder.path.resolve().name}/{folder.graph.name}`"
        f" ({folder.architecture or 'unnamed class'}): one head of the kind {head.spec.kind}. The"
        " golden answers are the graph's own.\n"
    )
