"""A model that writes, such as T5, as a checkpoint: its encoder, and its decoder as a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers

from polyhead.errors import SourceError
from polyhead.heads import HeadSpec
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint, Description
from polyhead_models.config import Config, EncoderConfig, HeadConfig
from polyhead_models.generation import families, starting
from polyhead_models.generation.decoder import DecoderStack
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.importing import tokenizing
from polyhead_models.importing.original import TOLERANCE
from polyhead_models.importing.source import ImportOptions, Source, reason

_LONGEST = 512
_COMPARED = 9  # tokens of an answer, after which all positions are compared


def checkpoint(
    source: Source, options: ImportOptions, provenance: Mapping[str, Any]
) -> tuple[Checkpoint, int, float]:
    """The checkpoint of a model that writes.

    Args:
        source: its files.
        options: what the files leave open.
        provenance: of the checkpoint.

    Returns:
        The checkpoint; texts whose token ids are those of the original library; and the largest
        difference of a logit from the original's.

    Raises:
        SourceError: when the model cannot be read, has parts that polyhead does not support, or
            gives other ids or logits.
    """
    tokenizer, reference = tokenizing.read(source, options)
    compared = tokenizing.check(tokenizer, reference, where=source.name)
    original = _load(source)
    encoder = families.build_encoder(original.config, original.config._attn_implementation)
    encoder.load_state_dict(families.encoder_of(original).state_dict())
    try:
        decoder = families.decoder_of(original)
        known = starting.known_tokens(tokenizer)
        generation = families.generation_of(original, decoder.shape, known)
    except ValueError as problem:
        raise SourceError(
            f"{source.name}: {str(problem).rstrip('.')}. See config.json and"
            " generation_config.json."
        ) from problem
    tokenizing.check_ids(tokenizer, encoder.config.vocab_size, where=source.name)
    limit = source.max_tokens(encoders.capacity(encoder), options.max_tokens) or _LONGEST
    title = options.head or "generation"
    spec = HeadSpec(
        kind=GenerationNetwork.kind,
        output=f"logits/{title}",
        max_tokens=limit,
        stride=limit // 4,
        generation=generation,
    )
    config = Config(
        encoder=EncoderConfig(
            name=source.name, max_tokens=limit, special_tokens=source.special_tokens
        ),
        heads={title: HeadConfig(kind=spec.kind, decoder="own")},
    )
    shapes = {title: decoder.shape}
    model = checkpoints.assemble(encoder, {title: spec}, config.heads, shapes).eval()
    network = model.networks[title]
    assert isinstance(network, GenerationNetwork)
    network.decoder.load_state_dict(decoder.state_dict())
    made = Checkpoint(
        model,
        tokenizer,
        Description(
            encoder=encoders.settings(encoder),
            heads={title: spec},
            config=config,
            data={},
            provenance=provenance,
            decoders=shapes,
        ),
    )
    return made, compared, _check(original, made, network.decoder, where=source.name)


def _load(source: Source) -> Any:
    try:
        with encoders.quiet():
            return families.load(str(source.folder))
    except Exception as problem:  # a damaged or refused pickle raises whatever it likes
        raise SourceError(
            f"{source.name}: transformers {transformers.__version__} cannot load it:"
            f" {reason(problem)}"
        ) from problem


@torch.inference_mode()
def _check(original: Any, made: Checkpoint, decoder: DecoderStack, *, where: str) -> float:
    """Compare logits of an answer of random tokens to each of some texts.

    Raises:
        SourceError: when one differs; names the text.
    """
    (spec,) = made.model.specs.values()
    (name,) = made.model.specs
    assert spec.generation is not None
    random, largest = np.random.default_rng(0), 0.0
    known = spec.generation.vocabulary - len(spec.generation.suppressed)
    for encoding in made.tokenizer.encode(tokenizing.TEXTS):
        ids = torch.from_numpy(encoding.cut(spec.max_tokens).ids)[None]
        answer = torch.from_numpy(random.integers(0, known, (1, _COMPARED)))
        answer[0, 0] = spec.generation.start
        if ids.shape[1] == 0:
            continue
        expected = original(input_ids=ids, decoder_input_ids=answer).logits
        cross = decoder.cross(made.model(ids)[name])
        vectors, _ = decoder(answer, (), cross)
        found, _ = decoder.scores(vectors, cross[-1], None)
        difference = float((found - expected).abs().max())
        largest = max(largest, difference)
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise SourceError(
                f"{where}: for {encoding.text!r:.80} the imported decoder differs from the"
                f" {type(original).__name__} by {difference:.2g}. Please report it."
            )
    return largest
