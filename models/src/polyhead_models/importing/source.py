"""The folder that a model is imported from, what it says of itself, and what it leaves open."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import huggingface_hub
import safetensors
import safetensors.torch
import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor

from polyhead.bundle.manifest import SpecialTokens
from polyhead.errors import SourceError
from polyhead.system.schema import read_json
from polyhead_models import encoder as encoders
from polyhead_models.generation import families
from polyhead_models.importing import declarations

Pooling = Literal["cls", "mean", "max"]
Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
Ignorable = Literal["default_prompt_name", "similarity_fn_name", "truncation_side", "weights"]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of an import.

    Attributes:
        head: name of the head; None takes the kind's.
        pair: whether a classifier reads pairs of texts, as one for entailment does.
        problem: what the labels of a classifier are; None takes what config.json says.
        pooling: of a plain encoder; None takes the mean.
        max_tokens: longest input; None takes what the files say.
        no_answer: of a head for questions: how far the logits of "no answer" must be above those of
            the best span for there to be none, 0 as a rule; None: a span is always given.
        ignore: what is logged although it changes answers; it is refused otherwise.
    """

    head: str | None = None
    pair: bool = False
    problem: Problem | None = None
    pooling: Pooling | None = None
    max_tokens: int | None = None
    no_answer: float | None = None
    ignore: tuple[Ignorable, ...] = ()

    def __post_init__(self) -> None:
        """Check `ignore`."""
        if unknown := set(self.ignore) - set(get_args(Ignorable)):
            raise SourceError(
                f"--ignore: found {', '.join(sorted(unknown))}, allowed:"
                f" {', '.join(get_args(Ignorable))}."
            )

    def leave(self, key: Ignorable, what: str) -> None:
        """Log what polyhead does not do and the original does.

        Raises:
            SourceError: unless it is to be ignored.
        """
        if key not in self.ignore:
            raise SourceError(f"{what} Where that is right, import it with --ignore {key}.")
        logger.warning(what)


MODULES = "modules.json"

logger = logging.getLogger(__name__)

_DESCRIPTION = "config_sentence_transformers.json"
_DEFAULT: Ignorable = "default_prompt_name"
# The first of these that is there counts, as in sentence-transformers.
_KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
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
        transformer: sentence_bert_config.json, what that library sets of the encoder.
        described: config_sentence_transformers.json, what it sets of the whole model.
        tokenizing: tokenizer_config.json.
    """

    name: str
    folder: Path
    top: Path
    config: Mapping[str, Any]
    modules: tuple[Module, ...]
    transformer: Mapping[str, Any]
    described: Mapping[str, Any]
    tokenizing: Mapping[str, Any]

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
        weights = declarations.WRITING if found.writes else declarations.WEIGHTS
        declarations.check(found.config, weights, where=str(found.folder / "config.json"))
        return found

    @classmethod
    def at(cls, top: Path, name: str) -> Source:
        """Read what a folder says of the model in it.

        Raises:
            SourceError: when a file cannot be read, or says what polyhead cannot obey.
        """
        modules = _modules(top)
        folder = modules[0].folder if modules else top
        for place in {top, folder}:
            declarations.refuse_foreign(place)
        files = [folder / f"sentence_{kind}_config.json" for kind in _KINDS if modules]
        known = declarations.MODULES["Transformer"]
        settings = folder / "tokenizer_config.json"
        tokenizing = declarations.table(settings) if settings.is_file() else {}
        declarations.check(tokenizing, declarations.TOKENIZER, where=str(settings))
        return cls(
            name,
            folder,
            top,
            declarations.table(folder / "config.json"),
            modules,
            next((declarations.read(file, known) for file in files if file.is_file()), {}),
            declarations.read(top / _DESCRIPTION, declarations.SENTENCE, optional=True),
            tokenizing,
        )

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
    def writes(self) -> bool:
        """Whether it is a whole encoder-decoder model of a family that is known here."""
        known = self.config.get("model_type") in families.FAMILIES
        named = (self.architecture or "").endswith(("ForConditionalGeneration", "MTModel"))
        return known and named and not self.modules

    @property
    def is_cross_encoder(self) -> bool:
        """Whether sentence-transformers made it to read pairs of texts."""
        stated = self.described.get("model_type") == "CrossEncoder"
        return stated or "sentence_transformers" in self.config or self.activation is not None

    @property
    def activation(self) -> str | None:
        """The class that a cross-encoder puts behind its logits; None where no file says."""
        own = self.config.get("sentence_transformers") or {}
        found = self.described.get("activation_fn") or own.get("activation_fn")
        found = found or self.config.get("sbert_ce_default_activation_function")
        return None if found is None else str(found)

    @property
    def special_tokens(self) -> SpecialTokens:
        """How texts with special tokens are read: as the tokens, where the files do not say."""
        return "text" if self.tokenizing.get("split_special_tokens") else "parse"

    def review(self, options: ImportOptions) -> None:
        """Log what the original library does to texts or vectors, and polyhead leaves to you.

        Raises:
            SourceError: when answers change without it, and the options do not say to ignore it.
        """
        file = self.top / _DESCRIPTION
        if self.is_sentence_model and all(module.kind != "Normalize" for module in self.modules):
            what = "vectors may have any length; an embedding here has length 1, so cosines are the"
            what = f"{what} same and dot products are not."
            compared = self.described.get("similarity_fn_name")
            if compared in (None, "cosine"):
                logger.warning("%s: its %s", self.name, what)
            else:
                stated = f"{file}: similarity_fn_name: found {compared!r}"
                options.leave("similarity_fn_name", f"{stated}, and its {what}")
        prompts, name = self.described.get("prompts") or {}, self.described.get(_DEFAULT)
        usual = prompts.get(name)
        if usual:
            options.leave(
                _DEFAULT,
                f"{file}: {_DEFAULT}: found {name!r}: sentence-transformers puts {usual!r} before"
                " every text; polyhead reads texts as they are, so put it there yourself.",
            )
        if stated := ", ".join(f"{p!r} ({key})" for key, p in prompts.items() if p and p != usual):
            logger.warning(
                "%s: sentence-transformers has the prompts %s for those who ask for them; polyhead"
                " reads texts as they are, so put them there yourself.",
                self.name,
                stated,
            )
        for adapter in sorted(self.top.glob("*/adapter_config.json")):
            logger.warning("%s: this adapter is not imported", adapter.parent)

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
        stated = self.transformer.get("max_seq_length") or self.tokenizing.get("model_max_length")
        # Where nothing is known, transformers writes a number of 31 digits.
        known = [n for n in (capacity, stated) if isinstance(n, int | float)]
        return min((int(n) for n in known if 3 <= n < 2**20), default=None)


def weights(folder: Path) -> Mapping[str, Tensor]:
    """The weights of a folder: safetensors, or pytorch_model.bin without pickled code; or shards.

    Raises:
        SourceError: when there is neither, or it is damaged.
    """
    kinds = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin")
    files = next(filter(None, (sorted(folder.glob(kind)) for kind in kinds)), [])
    if not files:
        raise SourceError(
            f"{folder}: its weights cannot be read: no model.safetensors, no pytorch_model.bin."
        )
    found: dict[str, Tensor] = {}
    try:
        for file in files:
            if file.suffix == ".safetensors":
                found |= safetensors.torch.load_file(str(file))
            else:
                found |= torch.load(str(file), map_location="cpu", weights_only=True)
        return found
    except Exception as problem:  # a damaged pickle raises whatever it likes
        raise SourceError(f"{folder}: its weights cannot be read: {reason(problem)}") from problem


def reason(problem: Exception) -> str:
    """Why weights cannot be read; a damaged pickle may raise without a word."""
    return str(problem) or (
        f"{type(problem).__name__}, without a word. Copy the folder again, or save the model again"
        " with save_pretrained, which writes model.safetensors."
    )


def _modules(top: Path) -> tuple[Module, ...]:
    """The lines of modules.json: an encoder first, then what polyhead knows of that library."""
    file = top / MODULES
    if not file.is_file():
        return ()
    listed = read_json(file, limit_bytes=declarations.JSON_LIMIT, error=SourceError)
    found: list[Module] = []
    for line in listed if isinstance(listed, list) else [None]:
        item: Mapping[str, Any] = line if isinstance(line, Mapping) else {}
        path, kind = item.get("path"), item.get("type")
        if not isinstance(path, str) or not isinstance(kind, str):
            raise SourceError(f"{file}: expected a list of modules with 'path' and 'type'.")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise SourceError(f"{file}: the path {path!r} leads out of the folder.")
        library, _, short = kind.rpartition(".")
        known = short in declarations.MODULES and library.split(".")[0] == "sentence_transformers"
        if not known or (short == "Transformer") != (not found):
            raise SourceError(f"{file}: a module {short!r} here ({kind}); {declarations.ORDER}")
        declarations.check(item, {"kwargs": (None, [])}, where=str(file))
        found.append(Module(short, top / path))
    if len(kinds := {module.kind for module in found} - {"Dropout"}) > 1 and "Pooling" not in kinds:
        raise SourceError(f"{file}: no module pools the tokens' vectors.")
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
