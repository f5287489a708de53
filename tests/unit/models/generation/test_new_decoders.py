"""A new decoder over any encoder: copying, its loss, and its training beside another head."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from polyhead.bundle import Generation
from polyhead.heads import HeadSpec
from polyhead.text.encoding import Encoding
from polyhead.text.tokenizer import Tokenizer
from polyhead_models import checkpoint, config
from polyhead_models.data.steps import schedule
from polyhead_models.errors import ConfigError
from polyhead_models.generation import starting
from polyhead_models.generation.backend import TorchStepBackend
from polyhead_models.generation.decoder import NOT_COPIED, Step
from polyhead_models.generation.shape import DecoderShape
from polyhead_models.heads.base import IGNORED
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.metrics import METRICS
from polyhead_models.model import MultiHeadModel
from polyhead_models.training import train
from polyhead_models.training.objective import Objective, optimizer

WIDTH, HEADS, SIZE, WORDS = 16, 4, 4, 50
TASK = {
    "kind": "generation",
    "data": "messages",
    "target": "topic",
    "decoder": {"layers": 1},
    "longest": 12,
}
FORMS = {
    "home": "lives in oslo",
    "delivery": "the parcel was late",
    "praise": "thanks the parcel is not late",
}


def network(**changes: Any) -> GenerationNetwork:
    torch.manual_seed(0)
    shape = DecoderShape(
        **{
            "vocabulary": WORDS,
            "width": WIDTH,
            "layers": 2,
            "heads": HEADS,
            "head_size": SIZE,
            "inner": 32,
            "places": 20,
            "attention_scale": SIZE**-0.5,
            "copies": True,
            "dropout": 0.0,
            **changes,
        }
    )
    generation = Generation(
        vocabulary=WORDS,
        layers=shape.layers,
        heads=HEADS,
        head_size=SIZE,
        start=2,
        end=(3,),
        max_tokens=20,
        default_tokens=8,
        copies=shape.copies,
    )
    spec = HeadSpec(
        kind="generation.v1", output="logits/rewrite", max_tokens=30, generation=generation
    )
    made = GenerationNetwork(spec, width=WIDTH, depth=3, decoder=shape).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def steps(head: GenerationNetwork, states: torch.Tensor, source: torch.Tensor, answer: Any) -> Any:
    """Scores and copied shares after each token of an answer, with caches."""
    shape, cross = head.decoder.shape, head.cross()(states)
    past = [torch.zeros(len(states), HEADS, 0, SIZE)] * (2 * shape.layers)
    found = []
    for i in range(answer.shape[1]):
        scores, *past, copied = head.step()(answer[:, i : i + 1], *past, *cross, source)
        found.append((scores, copied))
    return found


@torch.inference_mode()
def test_probabilities_of_what_is_generated_and_copied_sum_to_one() -> None:
    head, states = network(), torch.randn(3, 6, WIDTH)
    source = torch.randint(5, WORDS, (3, 6))
    source[:, 0] = source[0, 3] = NOT_COPIED
    source[2] = NOT_COPIED  # a text of special tokens only, such as an empty one
    for scores, copied in steps(head, states, source, torch.randint(5, WORDS, (3, 4))):
        assert torch.allclose(scores.exp().sum(-1), torch.ones(3), atol=1e-5)
        assert (copied[source == NOT_COPIED] == 0).all()
        assert ((copied[:2].sum(-1) > 0.01) & (copied[:2].sum(-1) < 1)).all()


@torch.inference_mode()
def test_what_is_copied_is_probable_as_often_as_it_stands_there() -> None:
    head, states = network(), torch.randn(1, 4, WIDTH)
    source = torch.tensor([[NOT_COPIED, 7, 9, 7]])
    ((scores, copied),) = steps(head, states, source, torch.tensor([[2]]))
    probability = scores.exp()[0]
    assert probability[7] >= copied[0, 1] + copied[0, 3]
    assert probability[9] >= copied[0, 2]


@torch.inference_mode()
def test_a_decoder_that_is_sure_to_copy_keeps_the_digits_of_the_rest() -> None:
    head, states = network(), torch.randn(1, 4, WIDTH)
    head.decoder.gate.bias.fill_(12.0)
    source, answer = torch.tensor([[NOT_COPIED, 7, 9, 7]]), torch.tensor([[2]])
    ((scores, _),) = steps(head, states, source, answer)
    vectors, _ = head.decoder(answer, (), head.decoder.cross(states))
    logits = vectors[0, 0] @ head.decoder.embedding.weight.T
    gate = head.decoder.gate(vectors[0, 0])
    expected = torch.log_softmax(logits, -1) + torch.nn.functional.logsigmoid(-gate)
    generated = [i for i in range(WORDS) if i not in (7, 9)]
    assert float((scores[0] - expected)[generated].abs().max()) < 1e-4


@torch.inference_mode()
def test_caches_change_nothing() -> None:
    head, states = network(), torch.randn(2, 6, WIDTH)
    source, answer = torch.randint(0, WORDS, (2, 6)), torch.randint(0, WORDS, (2, 5))
    cross = head.cross()(states)
    none = [torch.zeros(2, HEADS, 0, SIZE)] * 4
    with_caches = steps(head, states, source, answer)
    for i, (scores, copied) in enumerate(with_caches):
        expected, *_, share = Step(head.decoder)(answer[:, : i + 1], *none, *cross, source)
        assert torch.allclose(scores, expected, atol=1e-4)
        assert torch.allclose(copied, share, atol=1e-5)


def rows(*lengths: tuple[int, int]) -> list[torch.Tensor]:
    """Targets of sources and answers of these lengths."""
    found = []
    for source, answer in lengths:
        row = torch.full((2, max(source, answer)), IGNORED, dtype=torch.int64)
        row[0, :source] = torch.randint(5, WORDS, (source,))
        row[0, 0] = NOT_COPIED
        row[1, :answer] = torch.randint(5, WORDS, (answer,))
        found.append(row)
    return found


@torch.inference_mode()
@pytest.mark.parametrize("copies", [True, False])
def test_the_loss_is_the_one_of_each_token_by_itself(copies: bool) -> None:
    head = network(copies=copies)
    targets = rows((6, 3), (4, 5))
    states = torch.randn(3, 7, WIDTH)
    batch = head.collate([targets[0], None, targets[1]], 7)
    losses, count = 0.0, 0
    for row, target, length in ((0, targets[0], 6), (2, targets[1], 4)):
        labels = target[1][target[1] != IGNORED]
        cross = head.decoder.cross(states[row : row + 1, :length])
        before = torch.cat([torch.tensor([2]), labels[:-1]])[None]
        vectors, _ = head.decoder(before, (), cross)
        scores, _ = head.decoder.scores(vectors, cross[-1], target[None, 0, :length])
        chosen = torch.log_softmax(scores[0], -1)[torch.arange(len(labels)), labels]
        losses, count = losses - float(chosen.sum()), count + len(labels)
    assert float(head.loss(states, batch)) == pytest.approx(losses / count, rel=1e-4)
    plain = float(head.loss(states, batch))
    head.label_smoothing = 0.1
    assert float(head.loss(states, batch)) != pytest.approx(plain, rel=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("copies", [True, False])
def test_of_a_shortlist_others_are_only_copied(copies: bool) -> None:
    head, states = network(copies=copies, shortlist=4), torch.randn(1, 3, WIDTH)
    head.decoder.generate_only(torch.tensor([3, 8, 9, 20]))
    vectors, _ = head.decoder(torch.tensor([[2]]), (), cross := head.decoder.cross(states))
    scores, _ = head.decoder.scores(vectors, cross[-1], torch.tensor([[NOT_COPIED, 8, 30]]))
    found = torch.softmax(scores[0, 0], -1)
    written = [3, 8, 9, 20, *([30] if copies else [])]
    assert float(found[written].sum()) == pytest.approx(1, abs=1e-5)
    assert (found[written] > 1e-4).all()


@torch.inference_mode()
def test_the_loss_leaves_out_what_a_shortlist_can_not_write() -> None:
    head, states = network(shortlist=4), torch.randn(1, 3, WIDTH)
    head.decoder.generate_only(torch.tensor([3, 8, 9, 20]))
    head.label_smoothing = 0.2
    targets = torch.tensor([[[NOT_COPIED, 8, 30, IGNORED], [9, 30, 40, 3]]])
    before, cross = torch.tensor([[2, 9, 30, 40]]), head.decoder.cross(states)
    vectors, _ = head.decoder(before, (), cross)
    scores, _ = head.decoder.scores(vectors, cross[-1], targets[:, 0, :3])
    logs = torch.log_softmax(scores[0], -1)[[0, 1, 3]]  # 40 stands nowhere
    right = logs[torch.arange(3), torch.tensor([9, 30, 3])]
    expected = -(0.8 * right + 0.2 * logs[:, [3, 8, 9, 20]].mean(-1)).mean()
    assert float(head.loss(states, targets)) == pytest.approx(float(expected), rel=1e-4)
    targets[0, 1] = 40
    assert float(head.loss(states, targets)) == 0.0


def test_a_shortlist_has_the_end_and_what_targets_have_most_often(wordpiece: Tokenizer) -> None:
    decoder, ids = config.DecoderConfig(shortlist=3), wordpiece.vocabulary
    head = config.HeadConfig(**{**TASK, "decoder": decoder})
    texts = ["the parcel was late", "the parcel", "the thanks"]
    begun = starting.new(_over(network()).encoder, wordpiece, head, texts)
    assert begun.shortlist is not None
    assert set(begun.shortlist.tolist()) == {ids["[SEP]"], ids["the"], ids["parcel"]}
    assert begun.shape.shortlist == 3


def test_a_batch_without_a_target_costs_nothing() -> None:
    head, states = network(), torch.randn(2, 7, WIDTH, requires_grad=True)
    loss = head.loss(states, head.collate([None, None], 7))
    loss.backward()
    assert loss.item() == 0.0
    assert all((p.grad == 0).all() for p in head.parameters() if p.requires_grad)


def test_a_target_is_the_source_and_the_tokens_to_write(wordpiece: Tokenizer) -> None:
    head = network()
    ids = wordpiece.vocabulary
    end = (ids["[SEP]"],)
    generation = replace(
        head.generation, vocabulary=len(ids), end=end, max_tokens=4, default_tokens=4
    )
    head.spec = replace(head.spec, generation=generation)
    head.read_with(wordpiece)
    encoding: Encoding = wordpiece.encode(["anna was late"])[0]
    source, labels = head.target(("the parcel",), encoding).tolist()
    assert source == [NOT_COPIED, ids["anna"], ids["was"], ids["late"], NOT_COPIED]
    assert labels == [ids["the"], ids["parcel"], ids["[SEP]"], IGNORED, IGNORED]
    _, cut = head.target(("the parcel was late in oslo",), encoding).tolist()
    assert cut[:4] == [ids[word] for word in ("the", "parcel", "was", "late")]


def test_references_are_texts() -> None:
    assert GenerationNetwork.reference("late", "") == ("late",)
    assert GenerationNetwork.reference(["late", "not late"], "") == ("late", "not late")
    for wrong in ([], 3, " ", ["late", ""]):
        with pytest.raises(ValueError, match="expected a text"):
            GenerationNetwork.reference(wrong, "")


def words(folder: Path) -> str:
    """The generated texts of a checkpoint, as one."""
    with checkpoint.load(folder).engine() as engine:
        found = engine.predict(["anna lives in oslo", "thanks, bo"], heads=["rewrite"])
    return " | ".join(f"{p['rewrite'].text} {p['rewrite'].score:.4f}" for p in found)


def test_it_trains_beside_another_head_and_a_stopped_run_ends_the_same(
    write_config: Callable[..., Path],
    stopped_at: Callable[..., AbstractContextManager[None]],
    tmp_path: Path,
) -> None:
    task = {**TASK, "target": "form", "decoder": {"layers": 1, "shortlist": 20}}
    settings: dict[str, Any] = {
        "training": {"epochs": 16, "batch_tokens": 128, "learning_rate": 3e-3},
        "heads": {"rewrite": task, "entities": None, "embedding": None},
    }
    made = config.load(write_config(tmp_path, **settings))
    for file in (tmp_path / "data").iterdir():
        lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        texts = [json.dumps({**row, "form": FORMS[row["topic"]]}) + "\n" for row in lines]
        file.write_text("".join(texts), encoding="utf-8")
    done = train(made, tmp_path / "whole")
    found = done.metrics["validation"]["rewrite"]
    assert found["metric"] == "rougeL"
    assert found["figures"]["exact"] > 0.6
    with stopped_at("epoch 3:"):
        train(made, tmp_path / "stopped")
    train(made, tmp_path / "stopped", resume=True)
    assert words(tmp_path / "stopped") == words(tmp_path / "whole")
    own = checkpoint.load(tmp_path / "whole").model
    assert own.specs["rewrite"].generation is not None
    assert own.specs["rewrite"].generation.windows == "all"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": None}, "decoder: a head of kind 'generation' needs it"),
        ({"decoder": {"layers": 0}}, "layers"),
        ({"hidden": [8]}, "hidden: a head of kind 'generation' has no such key"),
        ({"pooling": "mean"}, "pooling"),
        (
            {"kind": "classification", "longest": None},
            "decoder: a head of kind 'classification' has no such key",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(
    write_config: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    task = {key: value for key, value in {**TASK, **changes}.items() if value is not None}
    path = write_config(tmp_path, heads={"rewrite": task})
    with pytest.raises(ConfigError, match=message):
        config.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": "own"}, "a bert has no decoder of its own"),
        ({"decoder": {"heads": 5}}, "expected a divisor of the encoder's width, 32"),
    ],
)
def test_what_the_encoder_does_not_have_is_refused(
    write_config: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_config(tmp_path, heads={"rewrite": {**TASK, **changes}})
    with pytest.raises(ConfigError, match=f"heads.rewrite: .*{message}"):
        train(config.load(path), tmp_path / "checkpoint")


def test_a_tokenizer_without_an_end_token_is_refused(wordpiece_json: str) -> None:
    state = json.loads(wordpiece_json) | {"post_processor": None}
    tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(state)))
    head = config.HeadConfig(**{**TASK, "decoder": config.DecoderConfig()})
    with pytest.raises(ConfigError, match="no special token behind a text"):
        starting.new(_over(network()).encoder, tokenizer, head, ())


def test_an_own_decoder_learns_at_the_rate_of_the_encoder() -> None:
    head = network()
    model = _over(head)
    planned = schedule(config.TrainingConfig(learning_rate=1e-4, head_learning_rate=1e-3), [9] * 9)
    rates = {}
    for pretrained in (False, True):
        head.pretrained = pretrained
        made = optimizer(Objective(model, {}, "fixed"), planned, weight_decay=0.0)
        rates[pretrained] = {
            group["lr"]
            for group in made.param_groups
            for parameter in group["params"]
            if parameter is head.decoder.embedding.weight
        }
    assert rates == {False: {1e-3}, True: {1e-4}}


def _over(head: GenerationNetwork) -> Any:
    sizes = {"vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "intermediate_size": 16}
    return MultiHeadModel(transformers.BertModel(transformers.BertConfig(**sizes)), {"w": head})


def test_metrics_compare_with_the_nearest_reference() -> None:
    results = [SimpleNamespace(text=text) for text in ("2026 - 11 - 29", "the parcel")]
    found = METRICS["generation.v1"].score(results, [("2026-11-29",), ("a cat", "the late parcel")])
    assert found["exact"] == 0.5
    assert found["rougeL"] == pytest.approx(np.mean([1.0, 0.8]))


def test_it_learns_in_bf16_too() -> None:
    head, states = network(), torch.randn(2, 7, WIDTH)
    batch = head.collate(rows((6, 3), (4, 5)), 7)
    plain = head.loss(states, batch).item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = head.train().loss(states, batch)
    loss.backward()
    assert loss.item() == pytest.approx(plain, rel=0.05)
    backend = TorchStepBackend(head.decoder)
    with torch.autocast("cpu", torch.bfloat16):
        cross = backend.cross(states[:, :4].numpy())
        past = [np.zeros((2, HEADS, 0, SIZE), np.float32)] * 4
        present = [np.zeros((2, HEADS, 1, SIZE), np.float32) for _ in past]
        source = np.full((2, 4), 7)
        scores, copied = backend.step(np.array([[2], [2]]), past, cross, source, present)
    assert head.decoder.training
    assert np.allclose(np.exp(scores).sum(axis=1), 1, atol=1e-3)
    assert copied is not None
    assert all(array.any() for array in present)
