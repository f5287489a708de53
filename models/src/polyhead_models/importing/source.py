"""The folder that a model is imported from, what it says of itself, and what it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import safetensors
import safetensors.torch
import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor

from polyhead.bundle.manifest import SpecialTokens
from polyhead.errors import SourceError
from polyhead.system.schema import read_json
from polyhead.text.tokenizer import Tokenizer
from polyhead_models import encoder as encoders

Pooling = Literal["cls", "mean", "max"]
Problem = Literal["single_label_classification", "multi_label_classification", "regression"]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of an import.

    Attributes:
        head: name of the head; None takes the kind's.
        pair: whether a classifier reads pairs of texts, as one for entailment does.
        problem: what the labels of a classifier are; None takes what config.json says.
        pooling: of a plain encoder; None takes the mean.
        max_tokens: longest input; None takes what the files say.
    """

    head: str | None = None
    pair: bool = False
    problem: Problem | None = None
    pooling: Pooling | None = None
    max_tokens: int | None = None


MODULES = "modules.json"

_JSON_LIMIT = 256 * 2**20
_DESCRIPTIONS = ["*.json", "*.txt", "*.model"]
_FOREIGN = ["onnx/*", "openvino/*", "original/*", "*/onnx/*"]


@dataclass(frozen=True)
class Module:
    """One line of modules.json.

    Attributes:
        kind: name of its class, such as ``"Pooling"``.
        folder: where its files are.
    """

    kind: str
    folder: Path


@dataclass(frozen=True)
class Source:
    """A model's files.

    Attributes:
        name: what the user called it.
        folder: where the files are; of a sentence-transformers model the folder of its encoder.
        top: the folder of modules.json; the same as `folder` for other models.
        config: the plain form of config.json.
        modules: of a sentence-transformers model, the encoder first; empty for other models.
    """

    name: str
    folder: Path
    top: Path
    config: Mapping[str, Any]
    modules: tuple[Module, ...] = ()

    @classmethod
    def find(cls, name: str) -> Source:
        """Look at a local folder, an installed package's, or fetch a repository of the hub.

        Raises:
            SourceError: when there is no model, or one that only code of its own can build.
            EncoderError: when an installed package ships other weights than those known.
        """
        place = encoders.locate(name)
        top = Path(place) if Path(place).is_dir() else _fetched(name)
        found = cls.at(top, str(top.resolve()) if Path(name).is_dir() else name)
        if found.config.get("auto_map"):
            raise SourceError(
                f"{name}: its config.json calls for Python code of the repository ('auto_map'),"
                " and polyhead runs none. Take a model whose class is part of transformers."
            )
        return found

    @classmethod
    def at(cls, top: Path, name: str) -> Source:
        """Read what a folder says of the model in it.

        Raises:
            SourceError: when config.json or modules.json cannot be read.
        """
        modules = _modules(top)
        folder = modules[0].folder if modules else top
        return cls(name, folder, top, table(folder / "config.json"), modules)

    @property
    def is_sentence_model(self) -> bool:
        """Whether sentence-transformers made it, and it gives one vector a text."""
        return any(module.kind == "Pooling" for module in self.modules)

    @property
    def architecture(self) -> str | None:
        """Name of the class whose weights these are; None when config.json does not say."""
        found = self.config.get("architectures") or [None]
        return str(found[0]) if isinstance(found, list) and found[0] else None

    @property
    def tokenizer_file(self) -> Path | None:
        """The tokenizer.json; None where there is none."""
        files = (self.folder / "tokenizer.json", self.top / "tokenizer.json")
        return next((file for file in files if file.is_file()), None)

    @property
    def special_tokens(self) -> SpecialTokens:
        """How texts with special tokens are read: as the tokens, where the files do not say."""
        file = self.folder / "tokenizer_config.json"
        asked = file.is_file() and table(file).get("split_special_tokens")
        return "text" if asked else "parse"

    def tokenizer(self) -> Tokenizer:
        """The fast tokenizer, special tokens and all.

        Raises:
            SourceError: when there is none.
        """
        try:
            if (file := self.tokenizer_file) is not None:
                return Tokenizer.from_file(file, special_tokens=self.special_tokens)
            return encoders.converted_tokenizer(str(self.folder)).reading(self.special_tokens)
        except (OSError, ValueError, ImportError) as problem:
            raise SourceError(
                f"{self.name}: its tokenizer cannot be loaded: {problem}. Expected tokenizer.json,"
                " or files that transformers makes a fast tokenizer of."
            ) from problem

    def max_tokens(self, capacity: int | None, asked: int | None) -> int | None:
        """Longest input: what was asked, else the least that is known; None where nothing is.

        Args:
            capacity: most tokens that the encoder reads; None where it has no limit.
            asked: by the user; None for nothing.

        Raises:
            SourceError: when more is asked than the encoder reads.
        """
        if asked is not None:
            if capacity is not None and asked > capacity:
                raise SourceError(
                    f"{self.name}: max_tokens: found {asked}; it reads at most {capacity}."
                )
            return asked
        file = self.folder / "tokenizer_config.json"
        stated = table(file).get("model_max_length") if file.is_file() else None
        file = self.top / "sentence_bert_config.json"
        own = table(file).get("max_seq_length") if file.is_file() else None
        # Where nothing is known, transformers writes a number of 31 digits.
        known = [n for n in (capacity, stated, own) if isinstance(n, int | float)]
        return min((int(n) for n in known if 3 <= n < 2**20), default=None)


def table(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds a table.

    Raises:
        SourceError: when it is missing or holds something else.
    """
    if not path.is_file():
        hint = ""
        if any(path.parent.rglob("*.onnx")):
            hint = " This folder has an ONNX graph and no weights for PyTorch."
        raise SourceError(
            f"{path}: no such file; expected a folder that save_pretrained of transformers or"
            f" sentence-transformers wrote, or the id of one on the hub.{hint}"
        )
    found = read_json(path, limit_bytes=_JSON_LIMIT, error=SourceError)
    if not isinstance(found, Mapping):
        raise SourceError(f"{path}: found {type(found).__name__}, expected a table.")
    return found


def weights(folder: Path) -> Mapping[str, Tensor]:
    """The weights of a small module: model.safetensors, or pytorch_model.bin without pickled code.

    Raises:
        SourceError: when there is neither, or it is damaged.
    """
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    try:
        if safe.is_file():
            return safetensors.torch.load_file(str(safe))
        found: Mapping[str, Tensor] = torch.load(
            str(pickled), map_location="cpu", weights_only=True
        )
        return found
    except Exception as problem:  # a damaged pickle raises whatever it likes
        raise SourceError(f"{folder}: its weights cannot be read: {problem}.") from problem


def _modules(top: Path) -> tuple[Module, ...]:
    file = top / MODULES
    if not file.is_file():
        return ()
    listed = read_json(file, limit_bytes=_JSON_LIMIT, error=SourceError)
    found = []
    for item in listed if isinstance(listed, list) else [None]:
        path, kind = (
            (item.get("path"), item.get("type")) if isinstance(item, Mapping) else (None, None)
        )
        if not isinstance(path, str) or not isinstance(kind, str):
            raise SourceError(f"{file}: expected a list of modules with 'path' and 'type'.")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise SourceError(f"{file}: the path {path!r} leads out of the folder.")
        found.append(Module(kind.rpartition(".")[2], top / path))
    return tuple(found)


def _fetched(name: str) -> Path:
    """The files of a repository on the hub, in its cache; pickled weights only without others."""
    try:
        for pattern in ("*.safetensors", "*.bin"):
            with encoders.quiet():
                place = huggingface_hub.snapshot_download(
                    name, allow_patterns=[*_DESCRIPTIONS, pattern], ignore_patterns=_FOREIGN
                )
            if any(Path(place).rglob(pattern)):
                break
        return Path(place)
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as problem:
        raise SourceError(
            f"{name}: no folder of that name here, and the hub gives none: {problem}"
        ) from problem
