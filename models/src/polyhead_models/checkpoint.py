"""A trained model on disk: model.safetensors, polyhead.json, tokenizer.json, metrics.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import safetensors.torch
from transformers import PreTrainedModel

from polyhead import Engine
from polyhead.bundle.digest import sha256
from polyhead.engine import OnOverflow
from polyhead.heads import HeadSpec
from polyhead.system import atomic
from polyhead.system.schema import OPTIONAL, parse, plain, read_json
from polyhead.text.tokenizer import Tokenizer
from polyhead_models import encoder as encoders
from polyhead_models.config import Config, HeadConfig
from polyhead_models.data.sources import digest
from polyhead_models.errors import CheckpointError
from polyhead_models.generation.backend import TorchStepBackend
from polyhead_models.generation.shape import DecoderShape
from polyhead_models.generation.starting import Beginning
from polyhead_models.heads import NETWORKS, HeadNetwork
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.model import MultiHeadModel, TorchBackend

VERSION = 1
DESCRIPTION = "polyhead.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
METRICS = "metrics.json"
SHRUNK = "shrunk"
"""Key of the provenance of a student: its teacher's shape, its own, and what each head lost."""
LIBRARIES = ("polyhead", "torch", "transformers", "tokenizers", "accelerate")

_TEACHER = ".teacher"
_JSON_LIMIT = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Description:
    """polyhead.json.

    Attributes:
        format: always ``"polyhead-checkpoint"``.
        version: of this format.
        encoder: the plain form of the encoder's Hugging Face configuration.
        heads: what each head is.
        config: the training configuration, paths and all, with what the data chose of it.
        chosen: the keys of ``[training]`` that the data chose.
        continued: epochs of each run that trained the finished checkpoint on.
        data: SHA-256 of the training and validation files, by ``source.split``, and of what the
            heads' teachers are, by ``head.teacher``.
        provenance: versions of the libraries, for people.
        decoders: what the decoders of heads that write are made of, by head.
    """

    format: Literal["polyhead-checkpoint"] = "polyhead-checkpoint"
    version: int = VERSION
    encoder: Mapping[str, Any]
    heads: Mapping[str, HeadSpec]
    config: Config
    chosen: tuple[str, ...] = ()
    continued: tuple[int, ...] = ()
    data: Mapping[str, str]
    provenance: Mapping[str, Any]
    decoders: Mapping[str, DecoderShape] = field(default_factory=dict, metadata=OPTIONAL)

    def trained_with(self, **settings: Any) -> Description:
        """The description with other settings under ``[training]``."""
        training = replace(self.config.training, **settings)
        return replace(self, config=replace(self.config, training=training))

    @property
    def asked(self) -> Config:
        """The configuration as the TOML file had it: without what the data chose."""
        return self.trained_with(**dict.fromkeys(self.chosen)).config

    @property
    def texts(self) -> dict[str, str]:
        """The digests of `data` without those of teachers, which only training needs."""
        return {name: digest for name, digest in self.data.items() if not name.endswith(_TEACHER)}


@dataclass(frozen=True)
class Checkpoint:
    """A model with all that is needed to use, evaluate or export it."""

    model: MultiHeadModel
    tokenizer: Tokenizer
    description: Description

    def engine(self, *, on_overflow: OnOverflow = "window", writing: bool = True) -> Engine:
        """An engine over the PyTorch model: one worker, since torch has threads of its own.

        Args:
            on_overflow: see `Engine`.
            writing: whether it has the heads that write; they take long.
        """
        found = self.model.specs.items()
        return Engine(
            TorchBackend(self.model),
            self.tokenizer,
            {name: spec for name, spec in found if writing or spec.generation is None},
            max_tokens=self.description.config.encoder.max_tokens,
            threads=1,
            batch_tokens=2048,
            on_overflow=on_overflow,
            steps={
                name: TorchStepBackend(network.decoder)
                for name, network in self.model.networks.items()
                if writing and isinstance(network, GenerationNetwork)
            },
        )


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is a folder with a checkpoint's description."""
    return (path / DESCRIPTION).is_file()


def refuse_existing(target: Path) -> None:
    """Refuse to write over anything.

    Raises:
        CheckpointError: when something is at `target`.
    """
    if target.exists():
        raise CheckpointError(f"{target}: exists. Name another folder, or remove this one.")


def save(folder: Path, checkpoint: Checkpoint, metrics: Mapping[str, Any]) -> None:
    """Write a checkpoint into an existing folder."""
    safetensors.torch.save_file(checkpoint.model.state_dict(), str(folder / WEIGHTS))
    (folder / TOKENIZER).write_text(checkpoint.tokenizer.to_json(), encoding="utf-8")
    _write_json(folder / METRICS, metrics)
    _write_json(folder / DESCRIPTION, plain(checkpoint.description))


def describe(path: Path) -> Description:
    """Read a checkpoint's description without its weights.

    Raises:
        CheckpointError: when there is none, it breaks the format, or it is newer.
    """
    file = path / DESCRIPTION
    if not file.is_file():
        raise CheckpointError(
            f"{path}: no checkpoint here (no {DESCRIPTION}). Make one with"
            " 'polyhead train CONFIG.toml -o CHECKPOINT'."
        )
    data = read_json(file, limit_bytes=_JSON_LIMIT, error=CheckpointError)
    if isinstance(data, dict) and type(data.get("version")) is int and data["version"] > VERSION:
        raise CheckpointError(
            f"{file}: format version {data['version']}; this polyhead reads up to {VERSION}."
            " Upgrade polyhead-models."
        )
    found = parse(Description, data, where=str(file), error=CheckpointError)
    if "special_tokens" not in data["config"]["encoder"]:  # older versions knew one way only
        encoder = replace(found.config.encoder, special_tokens="parse")
        found = replace(found, config=replace(found.config, encoder=encoder))
    return found


def metrics(path: Path) -> Mapping[str, Any]:
    """Read what training measured.

    Raises:
        CheckpointError: when metrics.json is missing or no JSON table.
    """
    file = path / METRICS
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file. Train again or copy it again.")
    found = read_json(file, limit_bytes=_JSON_LIMIT, error=CheckpointError)
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{file}: found no table of metrics. Copy the checkpoint again.")
    return found


def load(path: str | Path, *, trust_remote_code: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: its folder.
        trust_remote_code: run the Python code of an encoder outside transformers. What the
            checkpoint says of it does not count: it may come from someone else.

    Raises:
        CheckpointError: when a file is missing or does not fit the description.
        EncoderError: when the encoder cannot be built, or brings code that is not trusted.
    """
    folder = Path(path)
    return atomic.steadily([folder], lambda: _load(folder, trust_remote_code), checked=False)


def _load(path: Path, trust_remote_code: bool) -> Checkpoint:
    description = describe(path)
    named = description.config.encoder
    if named.trust_remote_code and not trust_remote_code:
        raise encoders.untrusted(named.name)
    for name in (WEIGHTS, TOKENIZER):
        if not (path / name).is_file():
            raise CheckpointError(f"{path / name}: no such file. Train again or copy it again.")
    model = assemble(
        encoders.build(
            dict(description.encoder), code_of=named.name if named.trust_remote_code else None
        ),
        description.heads,
        description.config.heads,
        description.decoders,
    )
    try:
        model.load_state_dict(safetensors.torch.load_file(str(path / WEIGHTS)))
    except (RuntimeError, safetensors.SafetensorError) as problem:
        raise CheckpointError(
            f"{path / WEIGHTS}: does not fit {DESCRIPTION}: {problem}. Copy the checkpoint again."
        ) from problem
    tokenizer = Tokenizer.from_file(path / TOKENIZER, special_tokens=named.special_tokens)
    return Checkpoint(model.eval(), tokenizer, description)


def encoder(name: str, *, trust_remote_code: bool = False) -> tuple[PreTrainedModel, Tokenizer]:
    """The encoder and tokenizer of a checkpoint folder, or of whatever `encoders.load` finds.

    Raises:
        CheckpointError: when there is a checkpoint that cannot be read.
        EncoderError: when there is none, and nothing else of that name.
    """
    if is_checkpoint(Path(name)):
        found = load(name, trust_remote_code=trust_remote_code)
        return found.model.encoder, found.tokenizer
    return encoders.load(name, trust_remote_code=trust_remote_code)


def decoder(name: str) -> Beginning | None:
    """The decoder of a checkpoint's head that writes with the encoder's own; None without one.

    Raises:
        CheckpointError: when the checkpoint cannot be read.
    """
    found = load(name)
    for head, network in found.model.networks.items():
        if found.description.config.heads[head].decoder == "own":
            shape, generation = found.description.decoders[head], network.spec.generation
            assert generation is not None
            state = network.get_submodule("decoder").state_dict()
            return Beginning(shape, generation, state)
    return None


def assemble(
    encoder: PreTrainedModel,
    specs: Mapping[str, HeadSpec],
    configs: Mapping[str, HeadConfig],
    decoders: Mapping[str, DecoderShape] = MappingProxyType({}),
) -> MultiHeadModel:
    """An encoder and fresh heads into a model.

    Args:
        encoder: of the transformers library.
        specs: what the heads are.
        configs: how they are made.
        decoders: of heads that write, what their decoders are made of.
    """
    heads: dict[str, HeadNetwork] = {
        name: NETWORKS[spec.kind](
            spec,
            width=encoder.config.hidden_size,
            depth=encoder.config.num_hidden_layers + 1,
            hidden=configs[name].hidden,
            dropout=configs[name].dropout,
            **({"decoder": decoders[name]} if name in decoders else {}),
        )
        for name, spec in specs.items()
    }
    return MultiHeadModel(encoder, heads)


def versions(libraries: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Versions by name of the libraries that made something, for its provenance.

    Of the modules: a distribution may have another name, such as onnxruntime-gpu.
    """
    return {name: str(import_module(name.replace("-", "_")).__version__) for name in libraries}


def digests(config: Config) -> dict[str, str]:
    """SHA-256 of what training read, by ``source.split``; the test split is not."""
    found = {}
    for name, source in config.data.items():
        for split in ("train", "validation"):
            if (read := digest(source, split)) is not None:
                found[f"{name}.{split}"] = read
    return found


def teachers(config: Config) -> dict[str, str]:
    """SHA-256 of weights and description of each head's teacher, by ``head.teacher``."""
    found = {}
    for name, head in config.heads.items():
        if head.teacher is not None:
            files = [Path(head.teacher.checkpoint) / file for file in (WEIGHTS, DESCRIPTION)]
            parts = [sha256(file) for file in files if file.is_file()]
            found[f"{name}{_TEACHER}"] = hashlib.sha256("".join(parts).encode()).hexdigest()
    return found


def _write_json(path: Path, value: Any) -> None:
    path.write_text(
        json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
