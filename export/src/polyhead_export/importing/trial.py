"""A graph of another library is run: what its files say of it, and what they do not say."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyhead.errors import GraphError, SourceError
from polyhead.heads import HeadSpec
from polyhead.inference.session import OnnxSession
from polyhead.text.encoding import Encoding, Input
from polyhead.text.tokenizer import Tokenizer
from polyhead_export.importing import graph as graphs
from polyhead_export.importing.graph import IDS, MASK, TYPES, ForeignGraph
from polyhead_export.importing.head import FolderHead
from polyhead_models.importing.labels import NEVER
from polyhead_models.importing.tokenizing import LONGEST_TRIED

logger = logging.getLogger(__name__)

_TEXTS = ("A parcel was late.", "Anna lives in Oslo.", "", "né à 東京 👍")
# Of the largest number: int8 kernels take the range of their input from padding, too.
_UNPADDED = {"fp32": 1e-3, "int8": 0.1}


def texts(spec: HeadSpec) -> list[Input]:
    """Texts or pairs for a head."""
    return [("Where does Anna live?", text) if spec.input == "pair" else text for text in _TEXTS]


def run(file: Path, head: FolderHead, tokenizer: Tokenizer, graph: ForeignGraph) -> OnnxSession:
    """A session on the graph of a head, after it was tried.

    Where answers change with padding although the mask is given, such as in a graph that pools
    without it, the graph is written without its mask: then texts are never filled up.

    Args:
        file: where to write the graph.
        head: what its output is.
        tokenizer: of its texts.
        graph: as it was read.

    Raises:
        SourceError: when it cannot read all token ids, or as many tokens as its files say; or when
            it gives no logits of the head's kind.
    """
    file.write_bytes(head.content)
    session, spec = OnnxSession(file), head.spec
    _try_limits(session, tokenizer, head)
    encodings = [e for e in tokenizer.encode(texts(spec)) if len(e) <= spec.max_tokens]
    if not encodings:
        return session
    alone = [_logits(session, [encoding], head)[0] for encoding in encodings]
    _refuse_others(alone, spec, graph.path)
    largest = max(float(np.abs(row).max()) for row in alone)
    together = zip(alone, _logits(session, encodings, head), strict=True)
    difference = max(float(np.abs(row - padded[: len(row)]).max()) for row, padded in together)
    if MASK not in session.inputs or difference <= _UNPADDED[graph.precision] * largest:
        return session
    logger.warning(
        "%s: its answers change with padding although it is given the mask; so only texts of the"
        " same length are run together.",
        graph.path,
    )
    file.unlink()  # the session may have it mapped
    file.write_bytes(graphs.unmasked(head.content))
    return OnnxSession(file)


def _logits(
    session: OnnxSession, encodings: Sequence[Encoding], head: FolderHead
) -> NDArray[np.float32]:
    """Logits of a batch, filled up on the right as the runtime does it."""
    shape = len(encodings), max(map(len, encodings))
    feeds = {name: np.zeros(shape, np.int64) for name in (IDS, MASK, TYPES)}
    for row, encoding in enumerate(encodings):
        feeds[IDS][row, : len(encoding)] = encoding.ids
        feeds[MASK][row, : len(encoding)] = 1
        feeds[TYPES][row, : len(encoding)] = encoding.token_types
    given = {name: feeds[name] for name in session.inputs}
    (found,) = session.run([head.spec.output], given)
    return found


def _refuse_others(logits: Sequence[NDArray[np.float32]], spec: HeadSpec, path: Path) -> None:
    """Refuse what is not a number for each label, or are probabilities already."""
    labels = len(spec.labels)
    if spec.kind in ("classification.v1", "multilabel.v1") and logits[0].shape != (labels,):
        raise SourceError(
            f"{path}: gives logits of the sizes {list(logits[0].shape)} a text, expected one for"
            f" each of the {labels} labels."
        )
    if labels and logits[0].shape[-1] > 1 and all(map(_sums_to_one, logits)):
        raise SourceError(
            f"{path}: its logits of each text are between 0 and 1 and sum to 1: these are"
            " probabilities already, and polyhead makes them of logits. Export the model without"
            " its softmax."
        )


def _sums_to_one(rows: NDArray[np.float32]) -> bool:
    known = rows[rows > NEVER / 2].reshape(*rows.shape[:-1], -1)  # tags that it does not have
    return bool(known.min() >= 0 and np.abs(known.sum(axis=-1) - 1).max() <= 1e-4)


def _try_limits(session: OnnxSession, tokenizer: Tokenizer, head: FolderHead) -> None:
    """Run the graph on the last token id, and on as many tokens as the files say that it reads."""
    last, limit = max(tokenizer.vocabulary.values()), head.spec.max_tokens
    tries = {3: f"the token id {last}, which its tokenizer has. Are they of two models?"}
    if limit <= LONGEST_TRIED:
        tries[limit] = f"{limit} tokens, as its files say. Say with --max-tokens how many it reads."
    for tokens, what in tries.items():
        ids = np.full((1, tokens), last)
        feeds = {IDS: ids, MASK: np.ones_like(ids), TYPES: np.zeros_like(ids)}
        try:
            session.run([head.spec.output], {name: feeds[name] for name in session.inputs})
        except GraphError as problem:
            raise SourceError(f"the graph cannot read {what} ({problem})") from problem
