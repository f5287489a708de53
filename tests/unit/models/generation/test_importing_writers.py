"""Folders of models that write, imported: their logits, their answers, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from polyhead.errors import SourceError
from polyhead_models import checkpoint, config
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.importing import ImportOptions, import_model
from polyhead_models.training import train

TEXTS = ("the parcel was late", "anna", "in oslo and rome again and again")


@pytest.mark.parametrize("family", ["t5-gated", "bart"])
def test_an_imported_model_writes_as_the_original(
    family: str,
    writing_model: Callable[[str], Any],
    writing_folder: Callable[..., Path],
    tmp_path: Path,
) -> None:
    model = writing_model(family)
    folder = writing_folder(model, before=family == "bart")
    made = import_model(str(folder), tmp_path / "checkpoint", ImportOptions(head="summary"))
    assert made.name == "summary"
    assert made.difference < 1e-4
    assert made.spec.generation is not None
    assert made.spec.generation.windows == "first"
    assert made.spec.max_tokens == 64
    found = checkpoint.load(tmp_path / "checkpoint")
    with found.engine() as engine:
        answers = engine.predict(TEXTS, heads=["summary"], options={"summary": {"max_tokens": 9}})
    for text, answer in zip(TEXTS, answers, strict=True):
        ids = torch.from_numpy(found.tokenizer.encode([text])[0].ids)[None]
        written = model.generate(
            ids,
            max_new_tokens=9,
            do_sample=False,
            suppress_tokens=list(made.spec.generation.suppressed),
        )
        assert answer["summary"].text == found.tokenizer.decode(written[0, 1:].tolist())


def test_an_imported_decoder_is_trained_on_beside_another_head(
    writing_model: Callable[[str], Any],
    writing_folder: Callable[..., Path],
    write_config: Callable[..., Path],
    tmp_path: Path,
) -> None:
    model = writing_model("t5")
    folder = writing_folder(model)
    import_model(str(folder), tmp_path / "imported", ImportOptions())
    task = {
        "kind": "generation",
        "data": "messages",
        "target": "topic",
        "decoder": "own",
        "longest": 6,
    }
    for name, encoder in (("folder", folder), ("imported", tmp_path / "imported")):
        path = write_config(
            tmp_path / name,
            encoder={"name": str(encoder)},
            heads={"write": task, "entities": None, "embedding": None},
            training={"epochs": 1, "batch_tokens": 512},
        )
        done = train(config.load(path), tmp_path / name / "checkpoint")
        network = checkpoint.load(done.path).model.networks["write"]
        assert isinstance(network, GenerationNetwork)
        spec = network.generation
        assert (spec.default_tokens, spec.max_tokens) == (6, 512)
        moved = (network.decoder.embedding.weight - model.shared.weight).abs().max().item()
        assert 0 < moved < 0.02  # two steps


def test_what_cannot_be_imported_says_why(
    writing_model: Callable[[str], Any], writing_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = writing_folder(writing_model("t5"), tokenizer=False)
    with pytest.raises(SourceError, match="its tokenizer cannot be loaded"):
        import_model(str(folder), tmp_path / "a", ImportOptions())
    folder = writing_folder(writing_model("mbart"))
    _change(folder / "generation_config.json", eos_token_id=None)
    _change(folder / "config.json", eos_token_id=None)
    with pytest.raises(SourceError, match="eos_token_id: none is set"):
        import_model(str(folder), tmp_path / "b", ImportOptions())
    folder = writing_folder(writing_model("pegasus"))
    _change(folder / "config.json", model_type="bigbird_pegasus")
    with pytest.raises(SourceError, match="is_encoder_decoder: found True"):
        import_model(str(folder), tmp_path / "c", ImportOptions())


def _change(file: Path, **changes: Any) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(found | changes), encoding="utf-8")
