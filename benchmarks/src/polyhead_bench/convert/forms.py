"""A checkpoint in the forms of other engines, made by what their users would use.

Started as ``python -m polyhead_bench.convert.forms FORM CHECKPOINT BUNDLE ENVIRONMENTS TARGET
HEAD…``, FORM being in `FORMS`: it needs PyTorch, which the measuring process stays without.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyhead.bundle import Bundle, read
from polyhead.errors import PolyheadError
from polyhead.system import atomic, cpu
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench import environments
from polyhead_bench.convert import conventional
from polyhead_bench.convert.masked import add_mask
from polyhead_bench.environments import run_script
from polyhead_models import checkpoint as checkpoints
from polyhead_models.model import MultiHeadModel

_GRAPH, _CONFIG = "model.onnx", "config.json"


@dataclass(frozen=True)
class Conversion:
    """What a form is made of.

    Attributes:
        checkpoint: the weights.
        bundle: whose golden texts calibrate.
        environments: folder of the virtual environments of other engines.
        heads: that the form is to have.
    """

    checkpoint: checkpoints.Checkpoint
    bundle: Path
    environments: Path
    heads: tuple[str, ...]

    def model(self, *heads: str) -> MultiHeadModel:
        """The model with these heads only."""
        whole = self.checkpoint.model
        return MultiHeadModel(whole.encoder, {name: whole.networks[name] for name in heads})

    def python(self, environment: str) -> Path:
        """The interpreter of an environment."""
        return environments.python(self.environments, environment)


def textbook(source: Conversion, folder: Path) -> None:
    """One int8 graph of all heads, see `conventional.textbook`."""
    model = source.model(*source.heads)
    config: Any = model.encoder.config
    conventional.textbook(
        conventional.unfused(model, folder / "unfused.onnx"),
        folder / _GRAPH,
        layers=int(config.num_hidden_layers),
        heads=int(config.num_attention_heads),
        hidden=int(config.hidden_size),
    )
    (folder / "unfused.onnx").unlink()


def optimum(source: Conversion, folder: Path) -> None:
    """For each head a folder with an unfused graph and the configuration that ORTModel reads."""
    config: Any = source.checkpoint.model.encoder.config
    for head in source.heads:
        (folder / head).mkdir()
        graph = folder / head / _GRAPH
        conventional.unfused(source.model(head), graph, outputs=["logits"])
        (folder / head / _CONFIG).write_text(json.dumps(config.to_dict()), encoding="utf-8")


def optimum_int8(source: Conversion, folder: Path) -> None:
    """The same after Optimum's dynamic quantiser."""
    python = source.python("optimum")
    optimum(source, folder)
    for head in source.heads:
        graph = folder / head / _GRAPH
        run_script(python, "optimum_quantise", graph, graph, optimum_configuration())


def openvino(source: Conversion, folder: Path) -> None:
    """One graph of all heads, calibrated with the bundle's golden texts."""
    python = source.python("openvino")
    graph = conventional.unfused(source.model(*source.heads), folder / _GRAPH)
    ids = folder / "ids.npz"
    np.savez(ids, *_golden_ids(read(source.bundle)))
    run_script(python, "openvino_quantise", graph, folder / "model.xml", ids)
    for made in (graph, ids):
        made.unlink()


def encoder(source: Conversion, folder: Path) -> None:
    """The encoder alone with its tokenizer, as the transformers library saves both."""
    checkpoint = source.checkpoint
    checkpoint.model.encoder.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer.to_json(), encoding="utf-8")
    pad = getattr(checkpoint.model.encoder.config, "pad_token_id", None) or 0
    vocabulary = json.loads(checkpoint.tokenizer.to_json())["model"]["vocab"]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": checkpoint.description.config.encoder.max_tokens,
        "split_special_tokens": checkpoint.tokenizer.special_tokens == "text",
        "pad_token": next(token for token, number in vocabulary.items() if number == pad),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def masked(source: Conversion, folder: Path) -> None:
    """The bundle's own graph with an attention mask."""
    bundle = read(source.bundle)
    exact = next(graph for graph in bundle.manifest.graphs if graph.layout == "exact")
    add_mask(bundle.file(exact), folder / _GRAPH)


def moved(source: Conversion, folder: Path) -> None:
    """The checkpoint with slightly other weights of the encoder: a second encoder."""
    checkpoint = source.checkpoint
    with torch.no_grad():
        for parameter in checkpoint.model.encoder.parameters():
            parameter.mul_(1.001)
    checkpoints.save(folder, checkpoint, {})


FORMS: Mapping[str, Callable[[Conversion, Path], None]] = {
    "textbook": textbook,
    "optimum": optimum,
    "optimum-int8": optimum_int8,
    "openvino": openvino,
    "encoder": encoder,
    "masked": masked,
    "moved": moved,
}
"""By name, what writes the form into an empty folder; `polyhead_bench.convert.cache.CONVERTED`."""


def optimum_configuration(flags: Sequence[str] | None = None) -> str:
    """The quantisation that Optimum's documentation would have one take for this CPU's flags."""
    known = cpu.describe().flags if flags is None else flags
    return "avx512_vnni" if "avx512_vnni" in known else "avx2"


def _golden_ids(bundle: Bundle) -> list[Any]:
    """Token ids of the golden texts that have any tokens, cut to what the encoder reads."""
    tokenizer = Tokenizer.of_bundle(bundle)
    texts = [example.input for example in bundle.golden().examples]
    rows = [e.ids[: bundle.manifest.encoder.max_tokens] for e in tokenizer.encode(texts)]
    return [row for row in rows if len(row) > 2]


def main(form: str, checkpoint: str, bundle: str, cache: str, target: str, *heads: str) -> None:
    """Make `target`; on a fault of ours the last line on standard error says why."""
    try:
        source = Conversion(checkpoints.load(checkpoint), Path(bundle), Path(cache), heads)
        with atomic.folder(Path(target)) as folder:
            FORMS[form](source, folder)
    except PolyheadError as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    main(*sys.argv[1:])
