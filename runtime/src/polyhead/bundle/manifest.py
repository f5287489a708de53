"""manifest.json of bundle format 1, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from polyhead.bundle.head_spec import HeadSpec
from polyhead.bundle.measured import Certificate, Gate, HeadQuality, Reliability
from polyhead.system import schema

FORMAT: Literal["polyhead-bundle"] = "polyhead-bundle"
VERSION = 1
MANIFEST = "manifest.json"
MOST_TOKENS = 131_072
"""Longest input that a bundle may declare. Encoders in use read up to 16,384 tokens."""

SpecialTokens = Literal["text", "parse"]
"""What ``[SEP]`` in a text is: ``"text"``, characters like others; ``"parse"``, the token itself,
as in transformers."""

SPECIAL_TOKENS = {"text": "plain text", "parse": "the tokens themselves"}
"""What each reads them as, in words."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file of the bundle.

    Attributes:
        file: plain file name inside the folder.
        sha256: hex digest of its content.
        size: bytes.
    """

    file: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        _plain_name(self.file)


@dataclass(frozen=True, kw_only=True)
class Graph(FileEntry):
    """An ONNX graph.

    Attributes:
        precision: of the linear layers.
        layout: ``"exact"``: no mask, every row of a batch has the same length; ``"padded"``: a mask
            says which tokens count.
        target: what it was lowered to: ``"onnx"`` has standard operators only, ``"ort-cpu"`` and
            ``"ort-cuda"`` also those of onnxruntime.
        heads: the heads whose logits it computes.
        inputs: names of its inputs.
    """

    precision: Literal["fp32", "fp16", "int8"]
    layout: Literal["exact", "padded"]
    target: Literal["onnx", "ort-cpu", "ort-cuda"]
    heads: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DecoderGraph(FileEntry):
    """One of the two ONNX graphs of a head that writes.

    Attributes:
        precision: of the linear layers.
    """

    precision: Literal["fp32", "int8"]


@dataclass(frozen=True, kw_only=True)
class DecoderGraphs:
    """The graphs of a head that writes.

    Attributes:
        cross: the encoder's states into the keys and values that each layer of the decoder attends
            to; runs once for a text.
        step: the last tokens, and keys and values of all before, into the scores of the next token.
    """

    cross: DecoderGraph
    step: DecoderGraph


@dataclass(frozen=True, kw_only=True)
class EncoderInfo:
    """The encoder behind the graphs.

    Attributes:
        name: as the training configuration named it.
        family: `model_type` of its Hugging Face configuration.
        fingerprint: SHA-256 over the names and values of its weights.
        hidden_size: width of a token vector.
        layers: number of transformer layers.
        max_tokens: longest input in tokens, special tokens included.
    """

    name: str
    family: str
    fingerprint: str
    hidden_size: int
    layers: int
    max_tokens: int

    def __post_init__(self) -> None:
        if not 3 <= self.max_tokens <= MOST_TOKENS:
            raise ValueError(f"max_tokens: found {self.max_tokens}, expected 3 to {MOST_TOKENS:,}.")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that a bundle says of itself. Field by field, this is format version 1.

    On the disk there is one field more, the digest of the others (`polyhead.bundle.digest`).

    Attributes:
        format: always ``"polyhead-bundle"``.
        version: format version.
        encoder: the encoder behind the graphs.
        tokenizer: `tokenizer.json`.
        golden: texts with the answers of the trained model.
        card: the model card, `README.md`, as it was exported; it may be edited or removed since.
        graphs: at least one.
        heads: by name, in the order of training.
        quality: by head; heads that were not measured are absent.
        provenance: versions, digests and settings of the export, for people.
        picture: the model card's picture, to which the same applies; None where there is none.
        gate: what the export was allowed to lose; None where nothing was asked.
        certificate: that a text's answer does not depend on its batch; None without a graph in the
            exact layout.
        calibration: `calibration.json`, with which another export can quantise in the same way;
            None where there was none, and in older bundles.
        special_tokens: how special tokens in texts are read.
        reliability: of scores, by head; heads that were not measured, or that give no score that is
            right or wrong, are absent.
        decoders: graphs of the heads that write, by head.
    """

    format: Literal["polyhead-bundle"]
    version: int
    encoder: EncoderInfo
    tokenizer: FileEntry
    golden: FileEntry
    card: FileEntry
    graphs: tuple[Graph, ...]
    heads: Mapping[str, HeadSpec]
    quality: Mapping[str, HeadQuality] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    picture: FileEntry | None = None
    gate: Gate | None = None
    certificate: Certificate | None = None
    calibration: FileEntry | None = None
    special_tokens: SpecialTokens = "parse"
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    decoders: Mapping[str, DecoderGraphs] = field(default_factory=dict, metadata=schema.OPTIONAL)

    def __post_init__(self) -> None:
        if not self.graphs:
            raise ValueError("graphs: empty, expected at least one.")
        if not self.heads:
            raise ValueError("heads: empty, expected at least one.")
        for graph in self.graphs:
            if unknown := set(graph.heads) - set(self.heads):
                raise ValueError(f"graphs: {graph.file} names unknown heads {sorted(unknown)}.")
        writing = [name for name, spec in self.heads.items() if spec.generation is not None]
        if sorted(self.decoders) != sorted(writing):
            raise ValueError(
                f"decoders: found graphs for {sorted(self.decoders)}, expected them for the heads"
                f" that write, {sorted(writing)}."
            )
        names = [entry.file for entry in self.files]
        if len(set(names)) != len(names):
            raise ValueError(f"files: duplicate names in {names}.")

    @property
    def checked(self) -> tuple[FileEntry, ...]:
        """Every file that the manifest vouches for."""
        calibration = () if self.calibration is None else (self.calibration,)
        decoders = (each for two in self.decoders.values() for each in (two.cross, two.step))
        return (self.tokenizer, self.golden, *calibration, *self.graphs, *decoders)

    @property
    def pages(self) -> tuple[FileEntry, ...]:
        """Files for people, which no program reads: they may be changed or gone."""
        return (self.card,) if self.picture is None else (self.card, self.picture)

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file that the manifest names."""
        return (*self.checked, *self.pages)


def _plain_name(name: str) -> None:
    plain = name.isprintable() and not any(c in name for c in "/\\:")
    if not plain or name in ("", ".", "..", MANIFEST):
        raise ValueError(f"file: found {name!r}, expected a plain file name inside the bundle.")
