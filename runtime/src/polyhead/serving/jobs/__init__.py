"""Comes in: files or batches of rows. Goes out: the same rows with typed columns of answers.

Needs pyarrow (``pip install 'polyhead[map]'``), which is imported with this room and nowhere else.
"""

from polyhead.errors import MissingExtra

try:
    import pyarrow  # noqa: F401
except ImportError as problem:
    raise MissingExtra(
        "pyarrow is not installed, and batch jobs read and write with it. Run"
        " \"pip install 'polyhead[map]'\"."
    ) from problem
