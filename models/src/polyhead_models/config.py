"""The training configuration: TOML into frozen dataclasses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from polyhead.errors import nearest
from polyhead.strict import parse, plain
from polyhead_models.errors import ConfigError
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.dense import Dense

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """``[encoder]``.

    Attributes:
        name: a local folder, the name of a model that an installed package ships, or a hub id. A
            checkpoint's folder gives its encoder, whose heads `polyhead heads add` takes along.
        max_tokens: longest input, special tokens included.
        trust_remote_code: run the Python code that an encoder outside transformers brings; without
            it such an encoder is refused.
    """

    name: str
    max_tokens: int = 256
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 3:
            raise ValueError(f"max_tokens: found {self.max_tokens}, expected at least 3.")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """``[data.NAME]``: one source of rows; paths are relative to the TOML file.

    Attributes:
        train: rows to learn from: a file, a list of files, or what else the format reads (a folder,
            ``file.json#key``, the id of a data set on the hub).
        validation: rows to watch while training; None trains without watching.
        test: rows for `polyhead evaluate --split test`.
        format: None goes by the files' ending.
        columns: names of the columns by position, for formats that do not name them; ``""`` and
            ``"_"`` leave a column out.
        header: whether the first line of csv or tsv names the columns. None: exactly when `columns`
            is empty. With both, `columns` goes before the header's names.
        lists: column -> separator, for cells that hold several values; a blank stands for any
            white space.
        names: column -> file with one name a line; the cells are numbers of lines, from 0.
        joiner: what stands between the words of a text that is a list: a blank, or nothing for
            Chinese and Japanese.
        validation_share: share of the training rows, 0 to below 1, that is the validation split of
            a source without one; chosen by a shuffle with `seed`, whatever else is set.
        test_share: the same for the test split.
        limit: split -> most rows, sampled with `seed`; empty takes all rows.
        seed: of the shuffle and the samples.
    """

    train: str | tuple[str, ...]
    validation: str | tuple[str, ...] | None = None
    test: str | tuple[str, ...] | None = None
    format: (
        Literal["jsonl", "csv", "tsv", "json", "conll", "parallel", "squad", "parquet", "hub"]
        | None
    ) = None
    columns: tuple[str, ...] = ()
    header: bool | None = None
    lists: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    joiner: str = " "
    validation_share: float = 0.0
    test_share: float = 0.0
    limit: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for split in SPLITS:
            if self.path(split) == ():
                raise ValueError(f"{split}: an empty list, expected at least one file.")
            if split in self.limit and self.limit[split] < 1:
                raise ValueError(f"limit.{split}: found {self.limit[split]}, expected at least 1.")
        if unknown := sorted(set(self.limit) - set(SPLITS)):
            raise ValueError(
                f"limit: unknown split {unknown[0]!r}; allowed: {', '.join(SPLITS)}."
                + nearest(unknown[0], SPLITS)
            )
        if twice := [c for c in self.columns if c not in ("", "_") and self.columns.count(c) > 1]:
            raise ValueError(f"columns: {twice[0]!r} stands twice.")
        if self.header is False and not self.columns:
            raise ValueError("header: false leaves the columns without names; set columns = [...].")
        if "" in self.lists.values():
            raise ValueError("lists: found an empty separator, expected at least one character.")
        if self.seed < 0:
            raise ValueError(f"seed: found {self.seed}, expected at least 0.")
        self._check_shares()

    def _check_shares(self) -> None:
        for split in ("validation", "test"):
            share = self.share(split)
            if not 0 <= share < 1:
                raise ValueError(f"{split}_share: found {share}, expected 0 to below 1.")
            if share and self.path(split) is not None:
                raise ValueError(f"{split}_share: the source has a {split!r} of its own; drop one.")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share together leave no row to learn from.")

    def path(self, split: str) -> str | tuple[str, ...] | None:
        """The place of a split, or None when the source has no files of its own for it."""
        value: str | tuple[str, ...] | None = getattr(self, split)
        return value

    def share(self, split: str) -> float:
        """The share of the training rows that a split takes; 0 for the training split."""
        return {"validation": self.validation_share, "test": self.test_share}.get(split, 0.0)

    @property
    def reading(self) -> dict[str, Any]:
        """All settings but the places of files: how the rows are read, not from where."""
        settings: dict[str, Any] = plain(self)
        for split in SPLITS:
            del settings[split]
        return {**settings, "names": list(self.names)}


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
        if not 0 < self.weight <= 1:
            raise ValueError(f"weight: found {self.weight}, expected above 0 to 1.")
        if self.temperature <= 0:
            raise ValueError(f"temperature: found {self.temperature}, expected more than 0.")


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
        loss_weight: factor of this head's loss.
        class_weights: factor of each label in the loss; ``"balanced"`` takes more the rarer it is
            in training, a table names labels, and what it leaves out has 1.
        label_smoothing: share of the target, 0 to below 1, that is spread over all labels alike.
        teacher: a trained head to learn from as well.
        stride: tokens that two windows of a long text share, at most half of what a window holds of
            it; None takes a quarter of `max_tokens`. All heads that read texts, and all that read
            pairs, have the largest of theirs.
        tags: what the tags on words are, for a head of kind tokens: ``"spans"`` (BIO and its kin)
            or ``"words"``: each tag is of its word alone, such as a part of speech.
        longest: most tokens of an answer; None takes the kind's own.
        summaries: key of a summary in other words, or of a list of them, with which ROUGE compares;
            None compares with the marked sentences.
        sentences: of a summary when a call does not say how many; None takes the kind's own.
        dimensions: sizes to which an embedding may be cut, and is trained to be; empty for its full
            size only.
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
    class_weights: Literal["balanced"] | Mapping[str, float] | None = None
    label_smoothing: float = 0.0
    teacher: TeacherConfig | None = None
    stride: int | None = None
    tags: Literal["spans", "words"] = "spans"
    longest: int | None = None
    summaries: str | None = None
    sentences: int | None = None
    dimensions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.versioned_kind not in NETWORKS:
            known = [name.partition(".")[0] for name in NETWORKS]
            raise ValueError(
                f"kind: unknown kind {self.kind!r}; allowed: {', '.join(known)}."
                + nearest(self.kind, known)
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: found {self.dropout}, expected 0 to below 1.")
        if self.loss_weight < 0:
            raise ValueError(f"loss_weight: found {self.loss_weight}, expected 0 or more.")
        if any(isinstance(width, int) and width < 1 for width in self.hidden):
            raise ValueError(f"hidden: found {list(self.hidden)}, expected widths of at least 1.")
        self._check_data()
        NETWORKS.check_claims(self.versioned_kind)
        network = NETWORKS[self.versioned_kind]
        for key, others in _KEYS_OF.items():
            if network.kind not in others and getattr(self, key) != _default(key):
                raise ValueError(f"{key}: a head of kind {self.kind!r} has no such key.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing: found {self.label_smoothing}, expected 0 to below 1."
            )
        if self.class_weights == {}:
            raise ValueError("class_weights: an empty table, expected at least one label.")
        if isinstance(self.class_weights, Mapping) and min(self.class_weights.values()) <= 0:
            raise ValueError(f"class_weights: found {dict(self.class_weights)}, expected above 0.")
        if self.stride is not None and self.stride < 0:
            raise ValueError(f"stride: found {self.stride}, expected 0 or more.")
        for key in ("longest", "sentences"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise ValueError(f"{key}: found {value}, expected at least 1.")
        if any(size < 1 for size in self.dimensions):
            raise ValueError(f"dimensions: found {list(self.dimensions)}, expected 1 or more each.")
        if (self.pooling is not None) and network.default_pooling is None:
            raise ValueError(f"pooling: a head of kind {self.kind!r} answers per token.")

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
            raise ValueError(self._untaught)
        if len(keys) not in network.texts:
            raise ValueError(
                f"text: a head of kind {self.kind!r} reads"
                f" {'a lone text: name one key' if network.texts == (1,) else 'a pair: name two'}."
            )

    def check_taught(self) -> None:
        """Refuse a head that cannot be of use without training and has nothing to learn from.

        Raises:
            ValueError: names the missing keys.
        """
        if self.data is None and not NETWORKS[self.versioned_kind].untrained:
            raise ValueError(self._untaught)

    @property
    def _untaught(self) -> str:
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


_KEYS_OF = {
    "class_weights": ("classification.v1", "multilabel.v1"),
    "label_smoothing": ("classification.v1", "tokens.v1"),
    "teacher": ("classification.v1", "multilabel.v1", "regression.v1", "tokens.v1"),
    "tags": ("tokens.v1",),
    "longest": ("answer.v1",),
    "summaries": ("summary.v1",),
    "sentences": ("summary.v1",),
    "dimensions": ("embedding.v1",),
}
"""Keys that only some kinds have."""


def _default(key: str) -> Any:
    return next(f.default for f in fields(HeadConfig) if f.name == key)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """``[training]``.

    Attributes:
        epochs: passes over the data.
        batch_tokens: tokens in a batch, about; batches hold texts of similar length.
        learning_rate: highest rate; rises over the first steps, then falls to 0.
        warmup: share of the steps in which the rate rises.
        weight_decay: of AdamW.
        sampling: how often each source is drawn: by its rows, by its rows to the power of
            1 / temperature, or all alike.
        temperature: for ``sampling = "temperature"``.
        head_learning_rate: highest rate of the heads; None takes `learning_rate`.
        freeze: what of the encoder does not learn: ``"nothing"``, ``"encoder"``, or a number: the
            embeddings and that many layers, from the first.
        loss_weighting: ``"fixed"`` takes the heads' `loss_weight`; ``"uncertainty"`` learns a
            factor for each head beside it.
        patience: stop after this many epochs without a better mean of the heads' validation
            figures; None trains all epochs. The best epoch is kept either way.
        precision: ``"auto"`` takes bf16 autocast where this CPU or GPU has the instructions.
        seed: of everything random.
    """

    epochs: int = 3
    batch_tokens: int = 2048
    learning_rate: float = 1e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    sampling: Literal["proportional", "temperature", "uniform"] = "proportional"
    temperature: float = 2.0
    head_learning_rate: float | None = None
    freeze: Literal["nothing", "encoder"] | int = "nothing"
    loss_weighting: Literal["fixed", "uncertainty"] = "fixed"
    patience: int | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_tokens", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least {low}.")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience: found {self.patience}, expected at least 1.")
        for name in ("learning_rate", "head_learning_rate", "temperature"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected more than 0.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup: found {self.warmup}, expected 0 to below 1.")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay: found {self.weight_decay}, expected 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole TOML file."""

    encoder: EncoderConfig
    data: Mapping[str, DataConfig] = field(default_factory=dict)
    heads: Mapping[str, HeadConfig]
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError("heads: empty, expected at least one [heads.NAME].")
        for name, head in self.heads.items():
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"heads: {name!r}: a name has letters, digits, '_' and '-'.")
            if head.data is not None and head.data not in self.data:
                raise ValueError(
                    f"heads.{name}: data: no source {head.data!r}; there are"
                    f" {', '.join(self.data) or 'none'}." + nearest(head.data, self.data)
                )
            if head.stride is not None and head.stride >= self.encoder.max_tokens:
                raise ValueError(
                    f"heads.{name}: stride: found {head.stride}, expected less than max_tokens ="
                    f" {self.encoder.max_tokens}."
                )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all settings but the paths of data and teachers, which have digests."""
        settings = plain(self)
        settings["data"] = {name: source.reading for name, source in self.data.items()}
        for head in settings["heads"].values():
            if head["teacher"] is not None:
                del head["teacher"]["checkpoint"]
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(path: str | Path) -> Config:
    """Read a configuration; `${NAME}` in a path or name stands for an environment variable.

    Raises:
        ConfigError: when the file is missing, no TOML, or says something it may not.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a configuration in TOML.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from problem
    config = parse(Config, _resolved(data, path), where=str(path), error=ConfigError)
    for name, head in config.heads.items():
        try:
            head.check_taught()
        except ValueError as problem:
            raise ConfigError(f"{path}: heads.{name}: {problem}") from problem
    if all(head.data is None for head in config.heads.values()):
        raise ConfigError(f"{path}: no head has 'data' and 'target', so nothing can be trained.")
    return config


def _resolved(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Paths made absolute and environment variables filled in, before the types are checked."""
    encoder = data.get("encoder")
    if isinstance(encoder, dict) and isinstance(encoder.get("name"), str):
        name = _filled(encoder["name"], f"{path}: encoder: name")
        local = path.parent / name
        folder = any((local / file).is_file() for file in ("config.json", "polyhead.json"))
        encoder["name"] = str(local.resolve()) if folder else name
    heads = data.get("heads")
    for name, head in heads.items() if isinstance(heads, dict) else ():
        teacher = head.get("teacher") if isinstance(head, dict) else None
        if isinstance(teacher, dict) and "checkpoint" in teacher:
            where = f"{path}: heads.{name}.teacher: checkpoint"
            teacher["checkpoint"] = _place(teacher["checkpoint"], where, path)
    sources = data.get("data")
    for name, source in sources.items() if isinstance(sources, dict) else ():
        if isinstance(source, dict):
            where = f"{path}: data.{name}"
            for split in SPLITS:
                if split in source:
                    on_disk = source.get("format") != "hub"
                    source[split] = _place(source[split], f"{where}: {split}", path, on_disk)
            if isinstance(names := source.get("names"), dict):
                for column, file in names.items():
                    names[column] = _place(file, f"{where}: names.{column}", path)
    return data


def _place(value: Any, where: str, path: Path, on_disk: bool = True) -> Any:
    """A file, or each of a list, made absolute; ids of the hub and what is no text stay."""
    if isinstance(value, list):
        return [_place(item, where, path, on_disk) for item in value]
    if not isinstance(value, str):
        return value
    filled = _filled(value, where)
    return str((path.parent / filled).resolve()) if on_disk else filled


def _filled(text: str, where: str) -> str:
    filled = os.path.expandvars(text)
    if missing := re.search(r"\$\{(\w+)\}", filled):
        raise ConfigError(
            f"{where}: the environment variable {missing[1]} is not set."
            f" Set it, as in '{missing[1]}=... polyhead ...'."
        )
    return filled
