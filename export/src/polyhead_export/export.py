"""From a checkpoint to a bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from polyhead import Engine
from polyhead.bundle import EncoderInfo, Graph, Manifest, writer
from polyhead.bundle.digest import entry, sha256
from polyhead.bundle.manifest import FORMAT, VERSION
from polyhead.session import OnnxSession
from polyhead_export import calibration, graphs, parity, variants
from polyhead_export.card import card
from polyhead_export.golden import golden_texts, write_golden
from polyhead_export.quality import measure
from polyhead_export.selection import chosen, select
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.data import sources
from polyhead_models.data.examples import Example
from polyhead_models.errors import DataError
from polyhead_models.evaluation import inputs

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "int8"]
_LIBRARIES = ("polyhead", "torch", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime")
_TOKENIZER, _GOLDEN, _CARD = "tokenizer.json", "golden.json", "README.md"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to export.

    Attributes:
        precision: of the encoder's linears.
        calibration_texts: how many training texts the int8 ranges are measured on.
        seed: of the sample of texts.
        heads: names of the heads to export; empty for all. The graph ends at the deepest layer
            that one of them reads.
        target: what an int8 graph is lowered to; ``"onnx"`` keeps it in standard ONNX. A float
            graph is standard ONNX in any case.
        also: further graphs, see `polyhead_export.variants`; ``"onnx"`` adds nothing where the
            first graph is standard ONNX.
        also_heads: for each, one more graph with these heads only.
    """

    precision: Precision = "int8"
    calibration_texts: int = 256
    seed: int = 0
    heads: tuple[str, ...] = ()
    target: Literal["ort-cpu", "onnx"] = "ort-cpu"
    also: tuple[variants.Variant, ...] = ()
    also_heads: tuple[tuple[str, ...], ...] = ()


def export(
    source: Path,
    target: Path,
    settings: Settings,
    *,
    config: Config | None = None,
    note: Callable[[str], None] = logger.info,
) -> Manifest:
    """Trace, check, quantise, measure and write a bundle.

    Args:
        source: a checkpoint.
        target: folder of the bundle; an older bundle there is replaced at the very end.
        settings: how to export.
        config: where the training and validation texts are; None takes what the checkpoint
            remembers.
        note: called with short remarks for whoever watches.

    Raises:
        CheckpointError: when the checkpoint cannot be read.
        UnknownHead: when a head is named that it does not have.
        DataError: when its texts are not where they were, or have changed.
        ExportError: when the model cannot be traced, or the graph is not the model's.
        BundleError: when something other than a bundle is at `target`.
    """
    checkpoint = select(checkpoints.load(source), settings.heads)
    for names in settings.also_heads:
        chosen(names, checkpoint.model.specs)  # before anything takes time
    texts = _Texts.load(checkpoint, config)
    sampled = calibration.sample(
        inputs(texts.train), count=settings.calibration_texts, seed=settings.seed
    )
    with writer.staged(target) as folder:
        graph = _graph(checkpoint, settings, sampled, folder, note)
        further = variants.write(
            checkpoint,
            graph,
            folder,
            also=settings.also,
            also_heads=settings.also_heads,
            sampled=sampled,
            note=note,
        )
        engine = _engine(checkpoint, graph, folder)
        (folder / _TOKENIZER).write_text(checkpoint.tokenizer.to_json(), encoding="utf-8")
        kinds = {spec.input for spec in checkpoint.model.specs.values()}
        golden = golden_texts(inputs(texts.measured), kinds, seed=settings.seed)
        also = {f.graph.file: f.engine(checkpoint, folder) for f in further}
        write_golden(folder / _GOLDEN, graph.file, checkpoint.engine(), engine, golden, also=also)
        note(f"measuring on {len(texts.measured):,} texts of the {texts.split} split")
        quality = measure(checkpoint, engine, texts.measured, texts.split)
        encoder, heads = _encoder(checkpoint), checkpoint.model.specs
        text = card(encoder, graph, heads, quality, further=[f.graph for f in further])
        (folder / _CARD).write_text(text, encoding="utf-8")
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            encoder=encoder,
            tokenizer=entry(folder / _TOKENIZER),
            golden=entry(folder / _GOLDEN),
            card=entry(folder / _CARD),
            graphs=(graph, *(f.graph for f in further)),
            heads=heads,
            quality=quality,
            provenance={
                **_provenance(source, checkpoint, settings, sampled),
                **({"further_graphs": {f.graph.file: f.facts for f in further}} if further else {}),
            },
        )
        writer.write_manifest(folder, manifest)
    return manifest


@dataclass(frozen=True)
class _Texts:
    """Examples to calibrate with, and examples to measure on."""

    train: Sequence[Example]
    measured: Sequence[Example]
    split: str

    @classmethod
    def load(cls, checkpoint: Checkpoint, config: Config | None) -> _Texts:
        if config is None:
            config = checkpoint.description.config
            if checkpoints.digests(config) != checkpoint.description.texts:
                missing = set(checkpoint.description.texts) - set(checkpoints.digests(config))
                raise DataError(
                    f"the data that the checkpoint was trained on"
                    f" {'is gone' if missing else 'has changed'}:"
                    f" {_files(checkpoint)}. Put it back, or name the data with --config."
                )
        heads = checkpoint.model.specs
        train, validation = (
            [e for e in data.load(config, split) if any(head in heads for head in e.references)]
            for split in ("train", "validation")
        )
        split = "validation" if validation else "train"
        measured = validation or train
        data.check(config, measured, {n: s.labels for n, s in checkpoint.model.specs.items()})
        return cls(train, measured, split)


def _files(checkpoint: Checkpoint) -> str:
    return ", ".join(
        sources.shown(source, split)
        for source in checkpoint.description.config.data.values()
        for split in ("train", "validation")
        if source.path(split) is not None
    )


def _graph(
    checkpoint: Checkpoint,
    settings: Settings,
    sampled: calibration.CalibrationTexts,
    folder: Path,
    note: Callable[[str], None],
) -> Graph:
    model, max_tokens = checkpoint.model, checkpoint.description.config.encoder.max_tokens
    lowered = settings.precision == "int8" and settings.target == "ort-cpu"
    note("tracing encoder and heads")
    traced = graphs.float_graph(model, max_tokens=max_tokens)
    path = folder / "model.fp32.onnx"
    graphs.save(traced.model, path)
    error = parity.check(model, path, max_tokens=max_tokens)
    attention = traced.nodes.get("Attention", 0)
    note(
        f"float graph: {sum(traced.nodes.values())} nodes, {attention} fused Attention,"
        f" largest difference from PyTorch {error:.1e}"
    )
    if settings.precision == "int8":
        note(f"calibrating on {len(sampled.texts)} training texts")
        graphs.quantise(traced.model, checkpoint.tokenizer, sampled, max_tokens=max_tokens)
        path.unlink()
        if "onnx" in settings.also and lowered:
            graphs.save(traced.model, folder / variants.QDQ)
        if lowered:
            graphs.lower(traced.model)
        path = folder / "model.int8.onnx"
        graphs.save(traced.model, path)
    file = entry(path)
    return Graph(
        file=file.file,
        sha256=file.sha256,
        size=file.size,
        precision=settings.precision,
        layout="exact",
        target="ort-cpu" if lowered else "onnx",
        heads=tuple(model.specs),
        inputs=model.inputs,
    )


def _engine(checkpoint: Checkpoint, graph: Graph, folder: Path) -> Engine:
    return Engine(
        OnnxSession(folder / graph.file),
        checkpoint.tokenizer,
        checkpoint.model.specs,
        max_tokens=checkpoint.description.config.encoder.max_tokens,
    )


def _encoder(checkpoint: Checkpoint) -> EncoderInfo:
    encoder, config = checkpoint.model.encoder, checkpoint.description.config
    return EncoderInfo(
        name=Path(config.encoder.name).name
        if Path(config.encoder.name).is_absolute()
        else config.encoder.name,
        family=str(encoder.config.model_type),
        fingerprint=encoders.fingerprint(encoder),
        hidden_size=int(encoder.config.hidden_size),
        layers=int(encoder.config.num_hidden_layers),
        max_tokens=config.encoder.max_tokens,
    )


def _provenance(
    source: Path,
    checkpoint: Checkpoint,
    settings: Settings,
    sampled: calibration.CalibrationTexts,
) -> Mapping[str, Any]:
    facts: dict[str, Any] = {
        "checkpoint_sha256": sha256(source / checkpoints.WEIGHTS),
        "training_config_sha256": checkpoint.description.config.fingerprint,
        "data_sha256": dict(checkpoint.description.data),
        "versions": {name: version(name) for name in _LIBRARIES},
        "settings": {"precision": settings.precision, "seed": settings.seed},
    }
    if settings.precision == "int8":
        facts["calibration"] = {
            "texts": len(sampled.texts),
            "seed": sampled.seed,
            "sha256": sampled.digest,
            "ranges": "min-max",
        }
    return facts
