"""``[heads.NAME]``: what a head is, what it learns from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polyhead.errors import nearest
from polyhead.system.schema import OPTIONAL
from polyhead_models.config import ranges
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.heads.layers import Dense

GENERATION = GenerationNetwork.kind


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """``[heads.NAME.teacher]``: a trained head whose answers this one learns from, too.

    Attributes:
        checkpoint: the teacher's folder, relative to the TOML file.
        head: its head there; None takes the same name.
        weight: share of the teacher's term in the head's loss, above 0 to 1; the labels have the
            rest.
        temperature: by which both models' logits are divided before they are compared.
    """

    checkpoint: str
    head: str | None = None
    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        ranges.check(self, "above 0 to 1", "weight")
        ranges.check(self, "more than 0", "temperature")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """``[heads.NAME.decoder]``: a new decoder, for a head that writes.

    Attributes:
        layers: of the decoder, at least 1.
        heads: of each attention; None takes as many as the encoder has.
        inner: width of the feed-forward part; None takes four times the encoder's.
        copies: whether it can copy tokens of the text, so that names and numbers come through.
        shortlist: most tokens that it generates, at least 1: the end, and those that training
            targets have most often. All others it can only copy. None for all.
    """

    layers: int = 2
    heads: int | None = None
    inner: int | None = None
    copies: bool = True
    shortlist: int | None = None

    def __post_init__(self) -> None:
        ranges.check(self, "at least 1", "layers", "heads", "inner", "shortlist")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """``[heads.NAME]``.

    Attributes:
        kind: such as ``"classification"`` or, with its version, ``"classification.v1"``.
        data: the source that feeds it; None for a head that is not trained here, such as one that
            was imported.
        text: key of the text in a row; two keys for a head that reads pairs (of an answer: the
            question's and the text's), and for an embedding that learns from two texts.
        target: key of the target in a row; None for a head that is not trained, and for an
            embedding whose two texts belong together.
        layers: hidden layer to read: ``"last"``, ``"mix"`` or an index (0: the embeddings).
        pooling: None takes the kind's own.
        hidden: layers before the last, each a width (with GELU) or a table of `width`, `activation`
            and `norm`; empty for a linear head.
        dropout: before each linear layer, 0 to below 1.
        loss_weight: factor of this head's loss, on top of its kind's own.
        unseen: what to do with a label that validation or test rows have and training rows lack:
            ``"drop"`` leaves out that label of a set, that span, or the row's whole target, and
            says how many; ``"error"`` refuses the row.
        class_weights: factor of each label in the loss; ``"balanced"`` takes more the rarer it is
            in training, a table names labels, and what it leaves out has 1.
        label_smoothing: share of the target, 0 to below 1, that is spread over all labels alike.
        teacher: a trained head to learn from as well.
        stride: tokens that two windows of a long text share, at most half of what a window holds of
            it; None takes a quarter of `max_tokens`. All heads that read texts, and all that read
            pairs, have the largest of theirs.
        tags: what the tags on words are, for a head of kind tokens: ``"spans"`` (BIO and its kin)
            or ``"words"``: each tag is of its word alone, such as a part of speech.
        longest: most tokens of an answer; None takes the kind's own. A new decoder learns no
            longer ones.
        summaries: key of a summary in other words, or of a list of them, with which ROUGE compares;
            None compares with the marked sentences.
        sentences: of a summary, or that a shortened text has words of, when a call does not say how
            many; None takes the kind's own.
        words: of a shortened text at most, when a call sets no limit; None takes the median of the
            short texts.
        price: of such a text: what a piece costs, in probability; None takes the kind's own.
        dimensions: sizes to which an embedding may be cut, and is trained to be; empty for its full
            size only.
        hold: weight of the term that holds an embedding to the vectors of the untouched encoder,
            from which other heads drag it away; 0 leaves it free.
        decoder: of a head that writes: ``"own"`` is the one that the encoder came with, in a family
            such as T5 or BART; a table makes a new one.
    """

    kind: str
    data: str | None = None
    text: str | tuple[str, ...] = "text"
    target: str | None = None
    layers: Literal["last", "mix"] | int = "last"
    pooling: Literal["cls", "mean", "max"] | None = None
    hidden: tuple[int | Dense, ...] = ()
    dropout: float = 0.1
    loss_weight: float = 1.0
    unseen: Literal["drop", "error"] = "drop"
    class_weights: Literal["balanced"] | Mapping[str, float] | None = None
    label_smoothing: float = 0.0
    teacher: TeacherConfig | None = None
    stride: int | None = None
    tags: Literal["spans", "words"] = "spans"
    longest: int | None = None
    summaries: str | None = None
    sentences: int | None = None
    words: int | None = None
    price: float | None = field(default=None, metadata=OPTIONAL)
    dimensions: tuple[int, ...] = ()
    hold: float = 5.0
    decoder: Literal["own"] | DecoderConfig | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        if self.versioned_kind not in NETWORKS:
            known = [name.partition(".")[0] for name in NETWORKS]
            alias = _ALIASES.get(self.kind.lower().replace("_", "-"))
            hint = f" Here it is called {alias!r}." if alias else nearest(self.kind, known)
            raise ValueError(
                f"kind: unknown kind {self.kind!r}; allowed: {', '.join(known)}.{hint}"
            )
        ranges.check(self, "0 to below 1", "dropout", "label_smoothing")
        ranges.check(self, "at least 0", "loss_weight", "stride", "hold")
        ranges.check(self, "at least 1", "longest", "sentences", "words")
        ranges.check(self, "0 to 1", "price")
        if any(isinstance(width, int) and width < 1 for width in self.hidden):
            raise ValueError(f"hidden: found {list(self.hidden)}, expected widths of at least 1.")
        self._check_data()
        NETWORKS.check_conflict(self.versioned_kind)
        network = NETWORKS[self.versioned_kind]
        for key, others in _KEYS_OF.items():
            if network.kind not in others and getattr(self, key) != getattr(HeadConfig, key):
                raise ValueError(f"{key}: a head of kind {self.kind!r} has no such key.")
        if self.class_weights == {}:
            raise ValueError("class_weights: an empty table, expected at least one label.")
        if isinstance(self.class_weights, Mapping) and min(self.class_weights.values()) <= 0:
            raise ValueError(f"class_weights: found {dict(self.class_weights)}, expected above 0.")
        if any(size < 1 for size in self.dimensions):
            raise ValueError(f"dimensions: found {list(self.dimensions)}, expected 1 or more each.")
        if network.kind == GENERATION:
            self._check_decoder()
        if (self.pooling is not None) and network.default_pooling is None:
            raise ValueError(f"pooling: a head of kind {self.kind!r} answers per token.")

    def _check_decoder(self) -> None:
        if self.decoder is None:
            raise ValueError(
                f'decoder: a head of kind {self.kind!r} needs it: "own" for the one that the'
                " encoder came with, or a table for a new one, such as { layers = 2 }."
            )
        if self.hidden:
            raise ValueError(f"hidden: a head of kind {self.kind!r} has no such key.")

    def _check_data(self) -> None:
        network, keys = NETWORKS[self.versioned_kind], self.keys
        if len(keys) > 2 or not keys:
            raise ValueError(f"text: found {list(keys)}, expected one key, or two for a pair.")
        if network.untrained:
            if self.data is None and self.target is not None:
                raise ValueError("target: needs the key 'data', too; leave both out not to train.")
            if self.data is not None and len(keys) != 2:
                raise ValueError(
                    f"text: a head of kind {self.kind!r} learns from two texts: name two keys."
                )
            return
        if (self.data is None) != (self.target is None):
            raise ValueError(self._needs)
        if len(keys) not in network.texts:
            raise ValueError(
                f"text: a head of kind {self.kind!r} reads"
                f" {'a lone text: name one key' if network.texts == (1,) else 'a pair: name two'}."
            )

    @property
    def untaught(self) -> str | None:
        """Why the head is of no use: it has nothing to learn from; None when it is of use."""
        able = NETWORKS[self.versioned_kind].untrained or self.decoder == "own"
        of_use = self.data is not None or able
        return None if of_use else self._needs

    @property
    def _needs(self) -> str:
        return f"a head of kind {self.kind!r} needs the keys 'data' and 'target'."

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the text, one or two."""
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    def input(self) -> Literal["text", "pair"]:
        """What the head reads. An embedding reads each of its two texts by itself."""
        pair = len(self.keys) == 2 and not NETWORKS[self.versioned_kind].untrained
        return "pair" if pair else "text"

    @property
    def versioned_kind(self) -> str:
        """The kind with its version; version 1 where none is given."""
        return self.kind if "." in self.kind else f"{self.kind}.v1"


_ALIASES = {
    "ner": "tokens",
    "slots": "tokens",
    "spans": "tokens",
    "pos": "tokens",
    "token-classification": "tokens",
    "text-classification": "classification",
    "sequence-classification": "classification",
    "sentiment": "classification",
    "nli": "classification",
    "multi-label": "multilabel",
    "multi-label-classification": "multilabel",
    "qa": "answer",
    "question-answering": "answer",
    "extractive-qa": "answer",
    "sts": "embedding",
    "sentence-similarity": "embedding",
    "feature-extraction": "embedding",
    "summarization": "summary",
    "compression": "compress",
    "sentence-compression": "compress",
    "seq2seq": "generation",
    "text2text-generation": "generation",
    "translation": "generation",
    "score": "regression",
    "rating": "regression",
}
"""What other libraries and users call the kinds."""

_KEYS_OF = {
    "class_weights": ("classification.v1", "multilabel.v1"),
    "label_smoothing": ("classification.v1", "tokens.v1", GENERATION),
    "teacher": ("classification.v1", "multilabel.v1", "regression.v1", "tokens.v1"),
    "tags": ("tokens.v1",),
    "longest": ("answer.v1", GENERATION),
    "summaries": ("summary.v1",),
    "sentences": ("summary.v1", "compress.v1"),
    "words": ("compress.v1",),
    "price": ("compress.v1",),
    "dimensions": ("embedding.v1",),
    "hold": ("embedding.v1",),
    "decoder": (GENERATION,),
}
"""Keys that only some kinds have."""
