"""Models of other libraries as checkpoints of polyhead: one head, the same logits."""

from polyhead_models.importing.convert import Imported, import_model
from polyhead_models.importing.head import Wishes

__all__ = ["Imported", "Wishes", "import_model"]
