"""From a checkpoint to a bundle, stage by stage.

::

    checkpoint ─► trace ─► calibrate ─► gate ─► temper ─► variants ─► golden ─► certify ─► write
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from polyhead import Engine
from polyhead.bundle import Certificate, DecoderGraphs, EncoderInfo, Graph, Manifest, writer
from polyhead.bundle.digest import entry, sha256
from polyhead.bundle.manifest import FORMAT, VERSION
from polyhead.text.encoding import Encoding
from polyhead_export import graphs, parity, pictures, texts, variants
from polyhead_export.card import card
from polyhead_export.card_facts import card_facts
from polyhead_export.decoders import DecoderFiles, lower_decoders
from polyhead_export.deployed import DeployedBundle
from polyhead_export.engines import engine_over
from polyhead_export.errors import WeightsError
from polyhead_export.gate import SelectedPlan, select_plan
from polyhead_export.golden import golden_texts, write_golden
from polyhead_export.plan_graphs import PlanGraphs
from polyhead_export.plans import FLOAT, fallback_stages
from polyhead_export.quality import GraphComparison, ReferenceModel
from polyhead_export.quantisation.calibrate import Calibrated, Plan, calibrate
from polyhead_export.quantisation.stored import StoredCalibration
from polyhead_export.selection import chosen, select
from polyhead_export.settings import ExportSettings
from polyhead_export.temperatures import TemperedHead, summary, with_temperature
from polyhead_export.variants import WrittenGraph, write_variants
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import SHRUNK, Checkpoint
from polyhead_models.config import Config
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import inputs

logger = logging.getLogger(__name__)

_TOKENIZER, _GOLDEN, _CARD, _PICTURE = "tokenizer.json", "golden.json", "README.md", "quality.png"
_CALIBRATION = "calibration.json"
_LIBRARIES = ("polyhead", "torch", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime")
_TIMED = 20
_ADVICE = "--precision auto takes fp32 where int8 fails; more --calibration-texts may help."


def export(
    source: Path,
    target: Path,
    settings: ExportSettings,
    *,
    config: Config | None = None,
    examples: tuple[Sequence[Example], Sequence[Example]] | None = None,
) -> Manifest:
    """Trace, check, quantise, measure and write a bundle.

    int8 begins with the fastest graph and falls back to more exact ones until every head is within
    the limits, with ``precision="auto"`` to fp32; see `polyhead_export.gate`.

    Args:
        source: a checkpoint.
        target: folder of the bundle; an older bundle there is replaced at the very end.
        settings: how to export.
        config: where the training and validation texts are; None takes what the checkpoint
            remembers.
        examples: texts to calibrate with and texts to measure on, in place of both; see
            `read_file`.

    Raises:
        CheckpointError: when the checkpoint cannot be read, or a newer version wrote it.
        UnknownHead: when a head is named that it does not have.
        DataError: when its texts are not where they were, or have changed.
        ExportError: when the model cannot be traced, the graph is not the model's, loses more than
            is allowed, or gives a text another answer in another batch.
        BundleError: when something other than a bundle is at `target`.
        OSError: when the disk refuses; like after all errors, an older bundle is then untouched.
    """
    pipeline = ExportPipeline(source, settings, config, examples)
    with writer.staged(target) as folder:
        return pipeline.run(folder)


class ExportPipeline:
    """A checkpoint, the texts that it is measured on, and the stages of its export.

    Raises what `export` raises.
    """

    def __init__(
        self,
        source: Path,
        settings: ExportSettings,
        config: Config | None,
        examples: tuple[Sequence[Example], Sequence[Example]] | None,
    ) -> None:
        """Read checkpoint and texts, and refuse what cannot be exported before anything is slow.

        Args as for `export`.
        """
        self.source, self.settings = source, settings
        loaded = checkpoints.load(source, trust_remote_code=settings.trust_remote_code)
        self.checkpoint = select(loaded, settings.heads)
        for names in settings.also_heads:
            chosen(names, self.checkpoint.model.specs)
        self.encoder = _encoder_info(self.checkpoint)
        self.deployed: DeployedBundle | None = None
        if settings.calibrated_as is not None:
            self.deployed = DeployedBundle.read(settings.calibrated_as)
            self.deployed.check(self.checkpoint, self.encoder)
        self.config = config or self.checkpoint.description.config
        self.texts = texts.load(self.checkpoint, config, examples)
        self.sampled = texts.sample(
            inputs(self.texts.train),
            count=settings.calibration_texts,
            seed=settings.seed,
            least=2 if settings.precision == "int8" or self.deployed is not None else 1,
        )

    def run(self, folder: Path) -> Manifest:
        """All stages, into a folder that is to become the bundle."""
        traced = self.trace(folder)
        decoders = DecoderFiles(self.checkpoint.model, folder)
        decoders.write()
        calibrated = self.calibrate(traced)
        selected = self.gate(calibrated, folder, decoders)
        scored = self.temper(selected.comparison)
        written = self.variants(folder, selected.plan)
        steps = {name: two.step.file for name, two in decoders.entries.items()}
        golden = self.golden(folder, [each.graph for each in written], steps)
        certificate = self.certify(folder, [each.graph for each in written], golden)
        manifest = self.manifest(
            folder, calibrated, selected, scored, written, certificate, decoders.entries
        )
        return self.write(folder, manifest, golden)

    def trace(self, folder: Path) -> ir.Model:
        """The float graph of encoder and heads, held against the PyTorch model."""
        self._refuse_wrong_weights()
        logger.info("tracing encoder and heads")
        traced = graphs.float_graph(self.checkpoint.model, max_tokens=self.encoder.max_tokens)
        path = folder / FLOAT.file
        graphs.save(traced, path)
        error = parity.check(self.checkpoint.model, path, max_tokens=self.encoder.max_tokens)
        logger.info(
            "float graph: %d nodes, largest difference from PyTorch %.1e", len(traced.graph), error
        )
        return traced

    def calibrate(self, traced: ir.Model) -> Calibrated | None:
        """How each linear can be quantised; None for a float bundle.

        What a deployed bundle has stored is taken over; only deeper layers are calibrated then.
        """
        if self.settings.precision == "fp32":
            return None
        if len(self.sampled.texts) == 1:
            logger.info("a single text is too few to calibrate int8 with: fp32")
            return None
        known = None
        if self.deployed is None:
            logger.info("calibrating on %d training texts", len(self.sampled.texts))
        else:
            logger.info("taking the calibration of %s", self.deployed.path)
            known = self.deployed.points_of(traced.graph)
        return calibrate(
            traced,
            self.checkpoint.tokenizer,
            self.sampled,
            max_tokens=self.encoder.max_tokens,
            known=known,
        )

    def gate(
        self, calibrated: Calibrated | None, folder: Path, decoders: DecoderFiles
    ) -> SelectedPlan:
        """The fastest graph that is within the limits; it is in the folder then.

        Decoders are float while it is looked for, and int8 then where nothing is lost by it.
        """
        measured, split, limits = self.texts.measured, self.texts.split, self.settings.limits
        logger.info("running %s texts of the %s split in PyTorch", f"{len(measured):,}", split)
        engine = self.checkpoint.engine()
        reference = ReferenceModel(engine, measured, split, tie_margin=limits.tie_margin)
        made = PlanGraphs(self.checkpoint, calibrated, folder, self.settings)

        def compare(plan: Plan) -> GraphComparison:
            with made.engine(plan) as exported:
                return reference.compare(exported)

        def disturbance(plan: Plan, heads: Sequence[str]) -> float:
            with made.engine(plan) as exported:
                return reference.disturbance(exported, heads)

        first, stages, advice = FLOAT, [], _ADVICE
        if self.deployed is not None:
            first, advice = self.deployed.plan, "Export all heads anew, without --calibrated-as."
        elif calibrated is not None:
            auto = self.settings.precision == "auto"
            first, stages = Plan(), fallback_stages(calibrated, disturbance, to_float=auto)
        heads = list(self.checkpoint.model.specs)
        selected = select_plan(first, stages, compare, limits, heads=heads, advice=advice)
        sentence = selected.outcome
        if selected.plan != first:
            slower = made.slowdown(selected.plan, first, inputs(measured)[:_TIMED])
            sentence += f". A text takes {slower:.2f} times the CPU time of {first.name}"
        logger.info("%s.", sentence)
        made.keep(selected.plan)
        if decoders and self.settings.precision != "fp32":
            selected = lower_decoders(decoders, selected, compare, self.settings)
        if self.deployed is not None:
            with made.engine(selected.plan) as exported:
                self.deployed.require_same(exported, inputs(measured))
        return selected

    def temper(self, comparison: GraphComparison) -> dict[str, TemperedHead]:
        """Give each head's spec its temperature, by what the graph answered.

        Heads of a deployed bundle keep theirs.
        """
        deployed = self.deployed.manifest.heads if self.deployed else {}
        found = {}
        for name, network in self.checkpoint.model.networks.items():
            if name in deployed:
                network.spec = replace(network.spec, temperature=deployed[name].temperature)
                continue
            texts = comparison.labelled[name]
            head = with_temperature(name, network.spec, texts, self.texts.split)
            if head is not None:
                logger.info(summary(name, head.spec, head.reliability))
                network.spec = head.spec
                found[name] = head
        return found

    def variants(self, folder: Path, plan: Plan) -> list[WrittenGraph]:
        """All graphs of the bundle: the exact one, and the further ones that were asked for."""
        first = Graph(
            **vars(entry(folder / plan.file)),
            precision=plan.precision,
            layout="exact",
            target="onnx" if plan.float_graph else self.settings.target,
            heads=tuple(self.checkpoint.model.specs),
            inputs=self.checkpoint.model.inputs,
        )
        further = write_variants(
            self.checkpoint,
            first,
            folder,
            also=self.settings.also,
            also_heads=self.settings.also_heads,
            sampled=self.sampled,
        )
        return [WrittenGraph(first, {}), *further]

    def golden(
        self, folder: Path, entries: Sequence[Graph], steps: Mapping[str, str]
    ) -> list[Encoding]:
        """Write the PyTorch model's answers to a few texts; returns these texts.

        Args:
            folder: of the bundle.
            entries: its graphs.
            steps: by head that writes, the file of its decoder's steps.
        """
        kinds = {spec.input for spec in self.checkpoint.model.specs.values()}
        selected = golden_texts(inputs(self.texts.measured), kinds, seed=self.settings.seed)
        # A GPU adds up in another order than the CPU that these were compared on: on an H200 the
        # fp16 graph of SNIPS was off by 1.5 times as much as here.
        least = {g.file: variants.FP16_TOLERANCE for g in entries if g.precision == "fp16"}
        exported = {g.file: self._engine(folder, g) for g in entries}
        reference = self.checkpoint.engine()
        return write_golden(
            folder / _GOLDEN, reference, exported, selected, least=least, steps=steps
        )

    def certify(
        self, folder: Path, entries: Sequence[Graph], golden: Sequence[Encoding]
    ) -> Certificate:
        """Refuse a graph in which a text's logits depend on its batch or on threads."""
        logger.info("comparing batches and threads")
        exact = [graph.file for graph in entries if graph.layout == "exact"]
        first, *_ = [parity.certify(folder / file, golden) for file in exact]
        return first

    def manifest(
        self,
        folder: Path,
        calibrated: Calibrated | None,
        selected: SelectedPlan,
        scored: Mapping[str, TemperedHead],
        written: Sequence[WrittenGraph],
        certificate: Certificate,
        decoders: Mapping[str, DecoderGraphs],
    ) -> Manifest:
        """Write tokenizer, calibration and picture; what the bundle says of itself, card aside."""
        plan, quality, gate = selected.plan, selected.comparison.quality, selected.gate
        calibrated = None if plan.float_graph else calibrated
        tokenizer = self.checkpoint.tokenizer
        (folder / _TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
        (folder / _PICTURE).write_bytes(pictures.quality(quality, gate, scored))
        if calibrated is not None:
            StoredCalibration.of(calibrated, plan).write(folder / _CALIBRATION)
        reliability = dict(self.deployed.manifest.reliability) if self.deployed else {}
        (folder / _CARD).touch()  # it is written of the manifest
        return Manifest(
            format=FORMAT,
            version=VERSION,
            encoder=self.encoder,
            tokenizer=entry(folder / _TOKENIZER),
            golden=entry(folder / _GOLDEN),
            card=entry(folder / _CARD),
            graphs=tuple(each.graph for each in written),
            heads=self.checkpoint.model.specs,
            quality=quality,
            provenance=self._provenance(calibrated, plan, written[1:]),
            picture=entry(folder / _PICTURE),
            gate=gate,
            certificate=certificate,
            calibration=None if calibrated is None else entry(folder / _CALIBRATION),
            special_tokens=tokenizer.special_tokens,
            reliability=reliability | {name: head.reliability for name, head in scored.items()},
            decoders=decoders,
        )

    def write(self, folder: Path, manifest: Manifest, golden: Sequence[Encoding]) -> Manifest:
        """Write the model card and, with its entry, the manifest."""
        with self._engine(folder, manifest.graphs[0]) as engine:
            facts = card_facts(self.config, self.texts, engine, golden)
        (folder / _CARD).write_text(card(manifest, facts), encoding="utf-8")
        manifest = replace(manifest, card=entry(folder / _CARD))
        writer.write_manifest(folder, manifest)
        return manifest

    def _engine(self, folder: Path, graph: Graph) -> Engine:
        padded = graph.layout == "padded"
        return engine_over(self.checkpoint, folder / graph.file, heads=graph.heads, padded=padded)

    def _refuse_wrong_weights(self) -> None:
        for name, tensor in self.checkpoint.model.state_dict().items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise WeightsError(
                    f"{name}: found NaN or infinity among {tensor.numel():,} weights; expected"
                    " finite numbers. Train again, with a lower learning rate or in fp32."
                )

    def _provenance(
        self, calibrated: Calibrated | None, plan: Plan, further: Sequence[WrittenGraph]
    ) -> dict[str, Any]:
        """What the bundle was made from: digests, versions and settings, as plain data."""
        description = self.checkpoint.description
        facts: dict[str, Any] = {
            "checkpoint_sha256": sha256(self.source / checkpoints.WEIGHTS),
            "training_config_sha256": description.config.fingerprint,
            "data_sha256": dict(description.data),
            "versions": checkpoints.versions(_LIBRARIES),
            "settings": {"precision": self.settings.precision, "seed": self.settings.seed},
        }
        if calibrated is not None:
            found = {**self.sampled.facts, "heads": list(self.checkpoint.model.specs)}
            if self.deployed is not None:
                taken = self.deployed.manifest.graphs[0].sha256
                found = {**self.deployed.facts, "taken_from": taken}
            facts["calibration"] = {**found, "alphas": calibrated.alphas(plan)}
        if (shrunk := description.provenance.get(SHRUNK)) is not None:
            facts[SHRUNK] = {key: value for key, value in shrunk.items() if key != "identity"}
        if further:
            facts["further_graphs"] = {f.graph.file: f.facts for f in further}
        return facts


def _encoder_info(checkpoint: Checkpoint) -> EncoderInfo:
    """The encoder of a checkpoint; of a local folder only the last part is named."""
    encoder, config = checkpoint.model.encoder, checkpoint.description.config.encoder
    return EncoderInfo(
        name=Path(config.name).name if Path(config.name).is_absolute() else config.name,
        family=str(encoder.config.model_type),
        fingerprint=encoders.fingerprint(encoder),
        hidden_size=int(encoder.config.hidden_size),
        layers=int(encoder.config.num_hidden_layers),
        max_tokens=config.max_tokens,
    )
