"""A bundle in another layout."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import onnx_ir as ir

from polyhead import load
from polyhead.bundle import Bundle, Graph, Manifest, writer
from polyhead.bundle.digest import entry
from polyhead.text.encoding import Encoding
from polyhead.text.tokenizer import Tokenizer
from polyhead_export import graphs, rewrites
from polyhead_export.certificate import certify
from polyhead_export.errors import ProbeError
from polyhead_export.layout import BUILT_IN, Layout


def int8_graph(bundle: Bundle) -> Graph:
    """The graph that is probed: int8, for onnxruntime's CPU provider, never padded.

    Raises:
        ProbeError: when the bundle has none.
    """
    for graph in bundle.manifest.graphs:
        if (graph.precision, graph.target, graph.layout) == ("int8", "ort-cpu", "exact"):
            return graph
    raise ProbeError(
        f"{bundle.path}: no int8 graph for onnxruntime's CPU provider; export with"
        " --precision int8."
    )


def require_built_in(bundle: Bundle) -> None:
    """Refuse a bundle that was written in another layout: its operators are no plain forms.

    Raises:
        ProbeError: names the layout that it has.
    """
    found = bundle.manifest.provenance.get("layout", asdict(BUILT_IN))
    if found != asdict(BUILT_IN):
        raise ProbeError(
            f"{bundle.path}: its graph is in the layout {found}, but the alternatives are made from"
            f" the built-in one, {asdict(BUILT_IN)}. Probe the bundle that it was written from."
        )


def write(bundle: Bundle, target: Path, layout: Layout) -> Manifest:
    """Write the bundle again with its int8 graph in `layout`; all else stays.

    The new graph gets a certificate of its own and has to give the golden answers. The quality in
    the manifest is that of the old graph, whose digest the provenance names.

    Raises:
        ProbeError: when the bundle has no such graph.
        StabilityError: when a text's answer depends on its batch or on threads in this layout.
        BundleError: when something other than a bundle is at `target`, or the answers are others.
    """
    old = int8_graph(bundle)
    with writer.staged(target) as folder:
        for file in bundle.manifest.files:
            if file.file != old.file:
                shutil.copyfile(bundle.file(file), folder / file.file)
        model = ir.load(bundle.file(old))
        rewrites.apply(model, layout)
        graphs.save(model, folder / old.file)
        file = entry(folder / old.file)
        new = replace(old, sha256=file.sha256, size=file.size)
        manifest = replace(
            bundle.manifest,
            graphs=tuple(new if g is old else g for g in bundle.manifest.graphs),
            certificate=certify(folder / old.file, _golden(bundle)),
            provenance={
                **bundle.manifest.provenance,
                "layout": asdict(layout),
                "quality_measured_on": old.sha256,
            },
        )
        writer.write_manifest(folder, manifest)
        load(folder, verify="golden").close()
    return manifest


def _golden(bundle: Bundle) -> list[Encoding]:
    tokenizer = Tokenizer.from_file(bundle.file(bundle.manifest.tokenizer))
    return list(tokenizer.encode([example.input for example in bundle.golden().examples]))
