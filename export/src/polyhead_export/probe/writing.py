"""A bundle in another layout."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import onnx_ir as ir

from polyhead.bundle import Bundle, Graph, Manifest, writer
from polyhead.bundle.digest import entry
from polyhead_export import graphs, rewrites
from polyhead_export.errors import ProbeError
from polyhead_export.layout import Layout


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


def write(bundle: Bundle, target: Path, layout: Layout) -> Manifest:
    """Write the bundle again with its int8 graph in `layout`; all else stays.

    Raises:
        ProbeError: when the bundle has no such graph.
        BundleError: when something other than a bundle is at `target`.
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
            provenance={**bundle.manifest.provenance, "layout": asdict(layout)},
        )
        writer.write_manifest(folder, manifest)
    return manifest
