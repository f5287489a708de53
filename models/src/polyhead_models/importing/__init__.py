"""A model of transformers or sentence-transformers in, a checkpoint with one head out."""

from polyhead_models.importing.convert import ImportedCheckpoint, import_model
from polyhead_models.importing.source import ImportOptions

__all__ = ["ImportOptions", "ImportedCheckpoint", "import_model"]
