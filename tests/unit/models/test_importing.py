"""Tiny models of every class that can be imported, saved as their own library saves them."""

import json

import pytest
import torch
import transformers

from polyhead.errors import SourceError
from polyhead_models import checkpoint
from polyhead_models.errors import CheckpointError
from polyhead_models.importing import ImportOptions, import_model

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.5,
    "max_position_embeddings": 64,
}
ROBERTA = {**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
FAMILIES = {
    "bert": SIZES,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "initializer_range": 0.5,
        "max_position_embeddings": 64,
    },
    "electra": {**SIZES, "embedding_size": 16},
    "albert": {**SIZES, "embedding_size": 16},
    "mpnet": {**SIZES, "max_position_embeddings": 66},
    "deberta": {**SIZES, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {
        **SIZES,
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_buckets": 8,
    },
    "modernbert": {
        **SIZES,
        "classifier_pooling": "mean",
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
}
TASKS = {
    "sequence": transformers.AutoModelForSequenceClassification,
    "tokens": transformers.AutoModelForTokenClassification,
    "answer": transformers.AutoModelForQuestionAnswering,
    "plain": transformers.AutoModel,
    "masked": transformers.AutoModelForMaskedLM,
}
NAMES = {0: "billing", 1: "delivery", 2: "praise"}
TEXTS = ["The parcel was late.", "anna lives in oslo", "thanks, thanks!", ""]
PAIRS = [("who was late?", "The parcel was late."), ("", "oslo"), ("where?", "anna lives in oslo")]
CLASSES = [(family, task) for family in FAMILIES for task in ("sequence", "tokens", "answer")]


@pytest.fixture
def save(wordpiece, wordpiece_json, tmp_path):
    """Saves a tiny model: `save(family, task, labels, **settings)` gives it and its folder."""

    def made(family, task, labels=NAMES, *, name="original", safe=True, **settings):
        torch.manual_seed(3)
        config = transformers.AutoConfig.for_model(
            family, vocab_size=wordpiece.vocabulary_size, **{**FAMILIES[family], **settings}
        )
        if labels is not None:
            config.id2label = dict(labels)
            config.label2id = {label: i for i, label in labels.items()}
        model = TASKS[task].from_config(config).eval()
        for parameter in model.parameters():  # biases and norms start as 0 and 1
            parameter.data += 0.1 * torch.randn_like(parameter)
        folder = tmp_path / name
        model.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
        # Not the family's own: transformers would build that one of this vocabulary.
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
        if not safe:
            (folder / "model.safetensors").unlink()
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
        return model, folder

    return made


@pytest.fixture
def load(tmp_path):
    """Imports a folder: `load(folder, **options)` gives the outcome and the checkpoint."""

    def made(folder, **options):
        done = import_model(str(folder), tmp_path / "checkpoint", ImportOptions(**options))
        return done, checkpoint.load(done.path)

    return made


@torch.inference_mode()
def original_logits(model, encoding):
    inputs = {"input_ids": torch.from_numpy(encoding.ids)[None]}
    if encoding.types is not None and getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = torch.from_numpy(encoding.types)[None]
    output = model(**inputs)
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)[0]
    return output.logits[0]


def edit(folder, **changes):
    """Change config.json; None takes a key out."""
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.mark.parametrize(("family", "task"), CLASSES, ids=[f"{f}-{t}" for f, t in CLASSES])
def test_the_logits_are_the_originals(save, load, family, task):
    labels = {"sequence": NAMES, "tokens": {0: "O", 1: "B-A", 2: "I-A"}, "answer": None}[task]
    model, folder = save(family, task, labels)
    done, made = load(folder)
    engine = made.engine()
    inputs = PAIRS if task == "answer" else TEXTS
    logits = engine.logits(inputs)[done.name]
    for encoding, found in zip(engine.tokenizer.encode(inputs), logits, strict=True):
        expected = original_logits(model, encoding)
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(
            torch.from_numpy(found), expected, atol=1e-5 * scale, rtol=0, check_stride=False
        )
    assert done.difference <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_encoder_is_an_embedding(save, load, family):
    model, folder = save(family, "plain", None)
    done, made = load(folder, pooling="mean")
    (encoding,) = made.tokenizer.encode(TEXTS[:1])
    with torch.inference_mode():
        states = model(input_ids=torch.from_numpy(encoding.ids)[None]).last_hidden_state
    expected = torch.nn.functional.normalize(states.mean(dim=1)[0], dim=0)
    found = torch.from_numpy(made.engine()(TEXTS[0])[done.name].vector)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_the_mean_of_a_masked_language_model_is_taken_and_it_is_said(save, load, caplog):
    done, _ = load(save("bert", "masked", None)[1])
    assert (done.spec.kind, done.spec.pooling) == ("embedding.v1", "mean")
    assert "it is their mean" in caplog.text


SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
GPT = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
QWEN = {**SMALL, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
BART = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
OTHERS = {
    "T5EncoderModel": (T5, "is a T5EncoderModel of the family 't5', which polyhead cannot import"),
    "BartModel": (BART, "is a BartModel of the family 'bart', which polyhead cannot import"),
    "GPT2LMHeadModel": (GPT, "is a GPT2LMHeadModel of the family 'gpt2', which polyhead cannot"),
    "GPT2Model": (GPT, "is a decoder of the family 'gpt2'.*--pooling"),
    "Qwen3ForCausalLM": (QWEN, "is a Qwen3ForCausalLM of the family 'qwen3', which polyhead"),
    "Qwen3Model": (QWEN, "is a decoder of the family 'qwen3'.*--pooling"),
}


@pytest.fixture
def other(wordpiece, wordpiece_json, tmp_path):
    """Saves a tiny model of any class: `other(name, settings)` gives its folder."""

    def made(name, settings):
        kind = getattr(transformers, name)
        config = kind.config_class(vocab_size=wordpiece.vocabulary_size, **settings)
        torch.manual_seed(0)
        kind(config).save_pretrained(tmp_path / "model")
        (tmp_path / "model" / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
        edit(tmp_path / "model", is_encoder_decoder=False)
        file = tmp_path / "model" / "tokenizer_config.json"
        file.write_text('{"tokenizer_class": "BertTokenizer"}')
        return tmp_path / "model"

    return made


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_encoder_is_named(other, load, name):
    settings, part = OTHERS[name]
    with pytest.raises(SourceError, match=part):
        load(other(name, settings))


def test_an_encoder_with_a_decoder_is_named_by_its_key(other, load):
    folder = other("BartModel", BART)
    edit(folder, is_encoder_decoder=True)
    with pytest.raises(
        SourceError,
        match=r"is_encoder_decoder: found True.*polyhead knows \*ForConditionalGeneration of t5",
    ):
        load(folder)


def test_relative_positions_are_named_by_their_key(save, load):
    _, folder = save("bert", "sequence")
    edit(folder, position_embedding_type="relative_key")
    with pytest.raises(SourceError, match="position_embedding_type: found 'relative_key'"):
        load(folder)


def test_a_decoder_is_imported_where_it_is_said_how_it_pools(other, load):
    done, _ = load(other("GPT2Model", GPT), pooling="mean", max_tokens=32)
    assert done.difference <= 1e-4


def test_settings_of_the_call_are_not_kept(save, load):
    _, folder = save("bert", "sequence")
    edit(folder, output_hidden_states=True, return_dict=False, torchscript=True)
    assert load(folder)[0].difference <= 1e-4


@pytest.mark.parametrize(
    ("settings", "options", "kind"),
    [
        pytest.param({}, {}, "classification.v1", id="unsaid"),
        pytest.param(
            {"problem_type": "multi_label_classification"}, {}, "multilabel.v1", id="several"
        ),
        pytest.param(
            {}, {"problem": "multi_label_classification"}, "multilabel.v1", id="wished_several"
        ),
    ],
)
def test_what_a_classifier_answers(save, load, settings, options, kind):
    done, made = load(save("bert", "sequence", **settings)[1], **options)
    assert (done.spec.kind, done.spec.labels) == (kind, tuple(NAMES.values()))
    assert made.engine()(TEXTS[0])[done.name].scores.keys() == set(NAMES.values())


def test_one_logit_of_a_regression_is_a_number(save, load):
    model, folder = save("roberta", "sequence", {0: "score"}, problem_type="regression")
    done, made = load(folder)
    (encoding,) = made.tokenizer.encode(TEXTS[:1])
    found = made.engine()(TEXTS[0])["regression"].value
    assert found == pytest.approx(float(original_logits(model, encoding)), rel=1e-4)
    assert done.spec.labels == ()


def test_a_classifier_of_pairs_reads_token_types(save, load):
    model, folder = save("bert", "sequence")
    done, made = load(folder, pair=True, head="entails")
    (encoding,) = made.tokenizer.encode(PAIRS[:1])
    found = torch.from_numpy(made.engine().logits(PAIRS[:1])["entails"][0])
    torch.testing.assert_close(found, original_logits(model, encoding), atol=1e-4, rtol=1e-4)
    assert done.spec.input == "pair"


def test_tags_are_put_in_order_and_missing_ones_never_win(save, load):
    tags = {0: "I-PER", 1: "B-LOC", 2: "O", 3: "I-LOC"}
    model, folder = save("distilbert", "tokens", tags)
    done, made = load(folder)
    (encoding,) = made.tokenizer.encode(TEXTS[:1])
    found = torch.from_numpy(made.engine().logits(TEXTS[:1])["tokens"][0])
    expected = original_logits(model, encoding)
    assert (done.spec.labels, done.spec.scheme) == (("PER", "LOC"), "iob")
    torch.testing.assert_close(found[:, [0, 2, 3, 4]], expected[:, [2, 0, 1, 3]])
    assert bool((found[:, 1] == -1e4).all())


def test_plain_tags_stay_as_they_are(save, load):
    done, made = load(save("bert", "tokens", {0: "NOUN", 1: "VERB", 2: "PUNCT"})[1])
    assert (done.spec.labels, done.spec.scheme) == (("NOUN", "VERB", "PUNCT"), "words")
    spans = made.engine()("the parcel was late.")["tokens"].spans
    assert "".join(span.text for span in spans) == "theparcelwaslate."


def test_a_pickle_of_tensors_is_read(save, load):
    model, folder = save("bert", "sequence", safe=False)
    done, made = load(folder)
    (encoding,) = made.tokenizer.encode(TEXTS[:1])
    found = torch.from_numpy(made.engine().logits(TEXTS[:1])[done.name][0])
    torch.testing.assert_close(found, original_logits(model, encoding), atol=1e-5, rtol=1e-5)


class Intruder:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_of_anything_else_is_refused(save, load, tmp_path):
    _, folder = save("bert", "sequence", safe=False)
    torch.save({"weight": Intruder(tmp_path / "written")}, folder / "pytorch_model.bin")
    with pytest.raises(SourceError, match=r"weights cannot be read|cannot load it"):
        load(folder)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "pickle"])
def test_labels_without_names_are_numbered(save, load, safe, caplog):
    _, folder = save("bert", "sequence", safe=safe)
    edit(folder, id2label=None, label2id=None)
    done, _ = load(folder)
    assert done.spec.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert "names no labels" in caplog.text


def test_labels_without_names_are_counted_in_shards(save, load):
    model, folder = save("bert", "sequence")
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    edit(folder, id2label=None, label2id=None)
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert load(folder)[0].spec.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize("tags", [("o", "b-per", "i-per"), ("O", "B_PER"), ("O", "PER-B")])
def test_tags_of_another_scheme_are_kept_and_it_is_said(save, load, tags, caplog):
    done, _ = load(save("bert", "tokens", dict(enumerate(tags)))[1])
    assert done.spec.labels == tuple(tag for tag in tags if tag != "O")
    assert "neither BIO nor plain" in caplog.text


def test_special_tokens_and_the_longest_input_are_kept(save, load):
    _, folder = save("roberta", "sequence")
    done, made = load(folder)
    (encoding,) = made.tokenizer.encode(["oslo"])
    assert encoding.special.tolist() == [True, False, True]
    assert (done.spec.max_tokens, done.spec.stride) == (64, 16)


def test_the_longest_input_of_the_tokenizer_counts(save, load):
    _, folder = save("bert", "sequence")
    settings = {"model_max_length": 32, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load(folder)[0].spec.max_tokens == 32


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        pytest.param({"architectures": ["BertForNextSentencePrediction"]}, "Next", id="task"),
        pytest.param({"architectures": ["MyBert"]}, "is a MyBert of the family 'bert'", id="own"),
        pytest.param({"model_type": "gpt2"}, "'gpt2', which polyhead cannot", id="family"),
        pytest.param({"auto_map": {"AutoModel": "x.Y"}}, "polyhead runs none", id="code"),
        pytest.param({"model_type": "brand-new"}, "cannot load it", id="unknown_family"),
        pytest.param({"problem_type": "ranking"}, "problem_type.* ranking|'ranking'", id="problem"),
        pytest.param({"problem_type": "regression"}, "regression with 3", id="numbers"),
        pytest.param({"id2label": {"0": "a", "1": "a", "2": "b"}}, "is duplicated", id="twice"),
        pytest.param({"id2label": {"0": "a", "1": "b"}}, "original", id="too_few"),
        pytest.param(
            {"id2label": {"0": "a", "1": "b", "3": "c"}}, "one label for each of the 3", id="gap"
        ),
        pytest.param({"quantization_config": {"bits": 4}}, "dequantize", id="quantised"),
        pytest.param({"is_decoder": True}, "is_decoder: found True, allowed: nothing", id="causal"),
        pytest.param({"intermediate_size": 50}, "original", id="other_weights"),
        pytest.param({"num_hidden_layers": 3}, "no '.*layer.2", id="missing_weights"),
    ],
)
def test_what_cannot_be_imported_is_said(save, load, changes, part):
    _, folder = save("bert", "sequence")
    edit(folder, **changes)
    with pytest.raises(SourceError, match=part) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert not (folder.parent / "checkpoint").exists()


@pytest.mark.parametrize(
    "architectures", [["BertForTokenClassification"], None], ids=["other", "none"]
)
def test_weights_that_the_class_does_not_use_are_logged(save, load, architectures, caplog):
    _, folder = save("bert", "sequence")
    edit(folder, architectures=architectures)
    load(folder)
    assert "of its weights, such as" in caplog.text
    assert "'architectures'" in caplog.text


ADDED = {
    "lora": "bert.encoder.layer.0.attention.self.query.lora_A.default.weight",
    "prefixed": "bert.encoder.layer.1.output.adapters.mine.down.weight",
    "older": "bert.encoder.layer.0.attention.self.distance_embedding.weight",
    "head": "classifier.lora_B.weight",
}


@pytest.mark.parametrize("key", ADDED.values(), ids=ADDED)
def test_weights_of_a_part_that_has_no_place_for_them_are_refused(save, load, key, caplog):
    model, folder = save("bert", "sequence")
    model.save_pretrained(folder, state_dict={**model.state_dict(), key: torch.ones(2, 2)})
    with pytest.raises(SourceError, match=rf"{key}.* --ignore weights"):
        load(folder)
    load(folder, ignore=("weights",))
    assert key in caplog.text


def test_further_layers_are_logged(save, load, caplog):
    _, folder = save("bert", "sequence")
    edit(folder, num_hidden_layers=1)
    load(folder)
    assert "bert.encoder.layer.1." in caplog.text


def test_weights_below_an_adapter_are_named(save, load):
    model, folder = save("bert", "sequence")
    query = "bert.encoder.layer.0.attention.self.query."
    weights = {k.replace(query, f"{query}base_layer."): v for k, v in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=weights)
    with pytest.raises(SourceError, match=rf"no '{query}\w+'.*'{query}base_layer.*adapter"):
        load(folder)


def test_what_can_be_ignored_is_listed():
    with pytest.raises(SourceError, match="--ignore: found prompts, allowed: default_prompt_name"):
        ImportOptions(ignore=("prompts",))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_full(save, load, kind):
    model, folder = save("bert", "sequence")
    model.to(kind).save_pretrained(folder)
    done, made = load(folder)
    (encoding,) = made.tokenizer.encode(TEXTS[:1])
    found = torch.from_numpy(made.engine().logits(TEXTS[:1])[done.name][0])
    expected = original_logits(model.float(), encoding)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_tokenizer_that_cuts_at_the_left_is_refused(save, load, caplog):
    _, folder = save("bert", "sequence")
    settings = {"truncation_side": "left", "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(SourceError, match="truncation_side: found 'left'"):
        load(folder)
    load(folder, ignore=("truncation_side",))
    assert "truncation_side" in caplog.text


def test_a_folder_without_a_model_is_named(load, tmp_path):
    with pytest.raises(SourceError, match=r"config\.json: no such file"):
        load(tmp_path)


def test_a_graph_without_weights_is_told_apart(load, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(SourceError, match="an ONNX graph and no weights"):
        load(tmp_path)


def test_a_repository_is_not_fetched_offline(load, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="polyhead-tests/no-such-model: no folder"):
        load("polyhead-tests/no-such-model")


def test_nothing_is_overwritten(save, load, tmp_path):
    _, folder = save("bert", "sequence")
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(CheckpointError, match="exists"):
        load(folder)


def test_weights_that_break_without_a_word_are_told_with_a_reason(save, load):
    _, folder = save("bert", "sequence", safe=False)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(SourceError, match=r": \w+Error, without a word\. .*save_pretrained"):
        load(folder)
