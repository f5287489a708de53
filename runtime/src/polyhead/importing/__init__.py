"""ONNX folders of other libraries as bundles, with nothing but what the runtime has.

It stands in the runtime since nothing of it needs torch or onnx: whoever
has such a folder wants to serve it, and should not install two gigabytes for that.
"""

from polyhead.importing.convert import Imported, import_folder
from polyhead.importing.head import Wishes

__all__ = ["Imported", "Wishes", "import_folder"]
