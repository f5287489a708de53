"""From a checkpoint to a bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from polyhead import Engine
from polyhead.bundle import Graph, Manifest, writer
from polyhead.bundle.digest import entry
from polyhead.bundle.manifest import FORMAT, VERSION
from polyhead.inference.session import OnnxSession
from polyhead.text.encoding import Encoding
from polyhead_export import (
    calibration,
    graphs,
    ladder,
    parity,
    pictures,
    quantisation,
    texts,
    variants,
)
from polyhead_export.card import card
from polyhead_export.certificate import certify
from polyhead_export.deployed import Deployed, deployed
from polyhead_export.errors import WeightsError
from polyhead_export.gate import Limits
from polyhead_export.golden import golden_texts, write_golden
from polyhead_export.ladder import Climbed
from polyhead_export.provenance import encoder_info, provenance
from polyhead_export.quality import Comparison, Trained
from polyhead_export.quantisation import Plan
from polyhead_export.selection import chosen, select
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import Config
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import inputs

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "int8"]
Note = Callable[[str], None]
_TOKENIZER, _GOLDEN, _CARD, _PICTURE = "tokenizer.json", "golden.json", "README.md", "quality.png"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to export.

    Attributes:
        precision: of the encoder's linears.
        calibration_texts: how many training texts the int8 ranges are measured on.
        seed: of the sample of texts.
        limits: what the graph may lose against the PyTorch model.
        heads: names of the heads to export; empty for all. The graph ends at the deepest layer
            that one of them reads.
        target: what an int8 graph is lowered to; ``"onnx"`` keeps it in standard ONNX. A float
            graph is standard ONNX in any case.
        also: further graphs, see `polyhead_export.variants`; ``"onnx"`` adds nothing where the
            first graph is standard ONNX.
        also_heads: for each, one more graph with these heads only.
        trust_remote_code: run the Python code of an encoder outside transformers.
        calibrated_as: a deployed int8 bundle of the same encoder, whose heads shall keep their
            logits to the bit; texts, seed and plan of its calibration are taken. None to calibrate
            anew.
    """

    precision: Precision = "int8"
    calibration_texts: int = 256
    seed: int = 0
    limits: Limits = field(default=Limits())
    heads: tuple[str, ...] = ()
    target: Literal["ort-cpu", "onnx"] = "ort-cpu"
    also: tuple[variants.Variant, ...] = ()
    also_heads: tuple[tuple[str, ...], ...] = ()
    trust_remote_code: bool = False
    calibrated_as: Path | None = None

    @property
    def lowered(self) -> bool:
        """Whether the first graph has operators of onnxruntime."""
        return self.precision == "int8" and self.target == "ort-cpu"


def export(
    source: Path,
    target: Path,
    settings: Settings,
    *,
    config: Config | None = None,
    examples: tuple[Sequence[Example], Sequence[Example]] | None = None,
    note: Note = logger.info,
) -> Manifest:
    """Trace, check, quantise, measure and write a bundle.

    int8 begins with the fastest graph and climbs to more exact ones until every head is within the
    limits; see `polyhead_export.gate` and `polyhead_export.ladder`.

    Args:
        source: a checkpoint.
        target: folder of the bundle; an older bundle there is replaced at the very end.
        settings: how to export.
        config: where the training and validation texts are; None takes what the checkpoint
            remembers.
        examples: texts to calibrate with and texts to measure on, in place of both; see
            `texts_file.read`.
        note: called with short remarks for whoever watches.

    Raises:
        CheckpointError: when the checkpoint cannot be read, or a newer version wrote it.
        UnknownHead: when a head is named that it does not have.
        DataError: when its texts are not where they were, or have changed.
        ExportError: when the model cannot be traced, the graph is not the model's, loses more than
            is allowed, or gives a text another answer in another batch.
        BundleError: when something other than a bundle is at `target`.
        OSError: when the disk refuses; like after all errors, an older bundle is then untouched.
    """
    checkpoint = select(
        checkpoints.load(source, trust_remote_code=settings.trust_remote_code), settings.heads
    )
    for names in settings.also_heads:
        chosen(names, checkpoint.model.specs)  # before anything takes time
    known = None if settings.calibrated_as is None else deployed(settings.calibrated_as)
    if known is not None:
        known.check(checkpoint)
    read = texts.load(checkpoint, config, examples)
    if known is not None:
        sampled = known.sample(checkpoint, config, examples)
    else:
        sampled = calibration.sample(
            inputs(read.train), count=settings.calibration_texts, seed=settings.seed
        )
    with writer.staged(target) as folder:
        path = folder / f"model.{settings.precision}.onnx"
        traced = _traced(checkpoint, path, note)
        note(f"asking PyTorch {len(read.measured):,} texts of the {read.split} split")
        trained = Trained(checkpoint.engine(), read.measured, read.split)
        calibrated = None
        if settings.precision == "int8":
            note(f"calibrating on {len(sampled.texts)} training texts")
            max_tokens = checkpoint.description.config.encoder.max_tokens
            calibrated = quantisation.calibrate(
                traced.model, checkpoint.tokenizer, sampled, max_tokens=max_tokens
            )
        climbed = _climbed(checkpoint, calibrated, trained, path, settings, known, note)
        if known is not None:
            note(f"comparing logits with those of {known.path}")
            with _engine(checkpoint, path) as engine:
                known.require_same(engine, inputs(read.measured))
        quality = trained.with_intervals(climbed.comparison)
        graph = _graph(checkpoint, path, settings)
        further = variants.write(
            checkpoint,
            graph,
            folder,
            also=settings.also,
            also_heads=settings.also_heads,
            sampled=sampled,
            note=note,
        )
        golden = _golden(folder, path, checkpoint, read, settings.seed, further)
        note("comparing batches and threads")
        certificate = certify(path, golden)
        for other in further:
            if other.graph.layout == "exact":
                certify(folder / other.graph.file, golden)

        (folder / _TOKENIZER).write_text(checkpoint.tokenizer.to_json(), encoding="utf-8")
        picture = pictures.quality(quality, climbed.comparison.logit_errors)
        (folder / _PICTURE).write_bytes(picture)
        encoder, heads = encoder_info(checkpoint), checkpoint.model.specs
        text = card(
            encoder,
            graph,
            heads,
            quality,
            climbed.gate,
            certificate,
            _PICTURE,
            further=[f.graph for f in further],
        )
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
                **provenance(
                    source,
                    checkpoint,
                    settings={"precision": settings.precision, "seed": settings.seed},
                    sampled=sampled if calibrated is not None else None,
                    alphas={} if calibrated is None else calibrated.alphas(climbed.rung.plan),
                    heads=tuple(heads) if known is None else known.heads,
                ),
                **({"further_graphs": {f.graph.file: f.facts for f in further}} if further else {}),
            },
            picture=entry(folder / _PICTURE),
            gate=climbed.gate,
            certificate=certificate,
        )
        writer.write_manifest(folder, manifest)
    return manifest


def _traced(checkpoint: Checkpoint, path: Path, note: Note) -> graphs.FloatGraph:
    """The float graph, checked against the PyTorch model."""
    model, max_tokens = checkpoint.model, checkpoint.description.config.encoder.max_tokens
    _refuse_wrong_weights(checkpoint)
    note("tracing encoder and heads")
    traced = graphs.float_graph(model, max_tokens=max_tokens)
    graphs.save(traced.model, path)
    error = parity.check(model, path, max_tokens=max_tokens)
    attention = traced.nodes.get("Attention", 0)
    note(
        f"float graph: {sum(traced.nodes.values())} nodes, {attention} fused Attention,"
        f" largest difference from PyTorch {error:.1e}"
    )
    return traced


def _refuse_wrong_weights(checkpoint: Checkpoint) -> None:
    for name, tensor in checkpoint.model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(
                f"{name}: found NaN or infinity among {tensor.numel():,} weights; expected finite"
                " numbers. Train again, with a lower learning rate or in fp32."
            )


def _climbed(
    checkpoint: Checkpoint,
    calibrated: quantisation.Calibrated | None,
    trained: Trained,
    path: Path,
    settings: Settings,
    known: Deployed | None,
    note: Note,
) -> Climbed:
    """The fastest graph within the limits; it is at `path` then."""
    rungs = [ladder.FLOAT]
    if calibrated is not None:
        rungs = ladder.rungs([name for name, _ in calibrated.ranking])
    if known is not None:
        rungs = [known.rung]

    def compare(plan: Plan) -> Comparison:
        if calibrated is not None:
            quantised = quantisation.apply(calibrated, plan)
            if settings.lowered and "onnx" in settings.also:
                graphs.save(quantised, path.with_name(variants.QDQ))
            graphs.save(graphs.lowered(quantised) if settings.lowered else quantised, path)
        with _engine(checkpoint, path) as engine:
            return trained.compare(engine)

    heads = list(checkpoint.model.specs)
    return ladder.climb(rungs, compare, settings.limits, heads=heads, note=note)


def _golden(
    folder: Path,
    path: Path,
    checkpoint: Checkpoint,
    read: texts.Texts,
    seed: int,
    further: Sequence[variants.Further],
) -> list[Encoding]:
    """Write the golden answers; returns their texts."""
    kinds = {spec.input for spec in checkpoint.model.specs.values()}
    selected = golden_texts(inputs(read.measured), kinds, seed=seed)
    also = {f.graph.file: f.engine(checkpoint, folder) for f in further}
    with _engine(checkpoint, path) as exported:
        trained = checkpoint.engine()
        # A GPU adds up in another order than the CPU that these were compared on: on an H200 the
        # fp16 graph of SNIPS was off by 1.5 times as much as here.
        least = {
            f.graph.file: variants.FP16_TOLERANCE for f in further if f.graph.precision == "fp16"
        }
        return write_golden(
            folder / _GOLDEN, path.name, trained, exported, selected, also=also, least=least
        )


def _graph(checkpoint: Checkpoint, path: Path, settings: Settings) -> Graph:
    file = entry(path)
    return Graph(
        file=file.file,
        sha256=file.sha256,
        size=file.size,
        precision=settings.precision,
        layout="exact",
        target="ort-cpu" if settings.lowered else "onnx",
        heads=tuple(checkpoint.model.specs),
        inputs=checkpoint.model.inputs,
    )


def _engine(checkpoint: Checkpoint, path: Path) -> Engine:
    return Engine(
        OnnxSession(path),
        checkpoint.tokenizer,
        checkpoint.model.specs,
        max_tokens=checkpoint.description.config.encoder.max_tokens,
    )
