"""An ONNX folder of Optimum, transformers.js or sentence-transformers in, a bundle out."""

from polyhead_export.importing.convert import ImportedBundle, import_folder
from polyhead_export.importing.graph import graph_of

__all__ = ["ImportedBundle", "graph_of", "import_folder"]
