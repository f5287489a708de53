"""Folders of sentence-transformers, written by hand in the layout of its versions 2 to 6."""

import json

import pytest
import safetensors.torch
import torch
import transformers

from polyhead.errors import SourceError
from polyhead_models import checkpoint
from polyhead_models.importing import ImportOptions, import_model

TYPES = "sentence_transformers.models."
TEXTS = ["The parcel was late.", "anna lives in oslo", "", "thanks"]
POOLING = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
NORMALIZE = ("Normalize", None, {})
DENSE = {"in_features": 32, "out_features": 12, "bias": True}
TANH = "torch.nn.modules.activation.Tanh"


@pytest.fixture
def folder(encoder_folder, tmp_path):
    """Writes a model of modules `(kind, settings, tensors)` behind an encoder."""

    def make(*modules, encoder="", types=TYPES, pickled=False):
        top = tmp_path / "original"
        with_encoder = top / encoder
        with_encoder.mkdir(parents=True)
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            (with_encoder / file).write_bytes((encoder_folder / file).read_bytes())
        (with_encoder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
        lines = [{"idx": 0, "name": "0", "path": encoder, "type": f"{types}Transformer"}]
        for number, (kind, settings, tensors) in enumerate(modules, start=1):
            path = f"{number}_{kind}"
            place = top / path
            place.mkdir()
            lines.append({"idx": number, "name": str(number), "path": path, "type": types + kind})
            if settings is not None:
                (place / "config.json").write_text(json.dumps(settings))
            if tensors and pickled:
                torch.save(tensors, place / "pytorch_model.bin")
            elif tensors:
                safetensors.torch.save_file(tensors, str(place / "model.safetensors"))
        (top / "modules.json").write_text(json.dumps(lines))
        return top

    return make


@pytest.fixture
def load(tmp_path):
    def made(folder, **options):
        done = import_model(str(folder), tmp_path / "checkpoint", ImportOptions(**options))
        return done, checkpoint.load(done.path).engine()

    return made


@pytest.fixture
def states(encoder_folder):
    """Token vectors of the encoder alone: `states(ids)`."""
    model = transformers.AutoModel.from_pretrained(encoder_folder).eval()

    @torch.inference_mode()
    def of(encoding):
        ids = torch.from_numpy(encoding.ids)[None]
        return model(input_ids=ids).last_hidden_state[0]

    return of


def linear(out, *, prefix="linear"):
    generator = torch.Generator().manual_seed(out)
    weight = torch.randn(out, 32 if out == 12 else 12, generator=generator)
    return {f"{prefix}.weight": weight, f"{prefix}.bias": torch.randn(out, generator=generator)}


@pytest.mark.parametrize(
    ("settings", "pool"),
    [
        (POOLING, lambda x: x.mean(dim=0)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, lambda x: x[0]),
        ({"pooling_mode": "max", "embedding_dimension": 32}, lambda x: x.amax(dim=0)),
    ],
    ids=["mean", "cls", "max"],
)
def test_pooling_and_normalising(folder, load, states, settings, pool):
    done, engine = load(folder(("Pooling", settings, {}), NORMALIZE))
    for encoding, found in zip(engine.encode(TEXTS), engine.predict(TEXTS), strict=True):
        expected = torch.nn.functional.normalize(pool(states(encoding)), dim=0)
        vector = torch.from_numpy(found["embedding"].vector)
        torch.testing.assert_close(vector, expected, atol=1e-6, rtol=1e-5)
    assert done.spec.max_tokens == 32


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickle"])
@pytest.mark.parametrize(
    ("function", "torch_function"),
    [(TANH, torch.tanh), ("torch.nn.modules.linear.Identity", lambda x: x)],
    ids=["tanh", "identity"],
)
def test_a_dense_layer(folder, load, states, function, torch_function, pickled):
    tensors, settings = linear(12), {**DENSE, "activation_function": function}
    modules = [("Pooling", POOLING, {}), ("Dense", settings, tensors), NORMALIZE]
    _, engine = load(folder(*modules, pickled=pickled), head="search")
    for encoding, found in zip(engine.encode(TEXTS), engine.logits(TEXTS)["search"], strict=True):
        pooled = states(encoding).mean(dim=0)
        expected = torch_function(tensors["linear.weight"] @ pooled + tensors["linear.bias"])
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5)


def test_two_dense_layers_and_a_norm(folder, load, states):
    first, second = linear(12), linear(8)
    norm = {"norm.weight": torch.linspace(0.5, 2, 12), "norm.bias": torch.linspace(-1, 1, 12)}
    _, engine = load(
        folder(
            ("Pooling", POOLING, {}),
            ("Dense", {**DENSE, "activation_function": TANH}, first),
            ("LayerNorm", {"dimension": 12}, norm),
            ("Dense", {**DENSE, "activation_function": "torch.nn.modules.linear.Identity"}, second),
            NORMALIZE,
            encoder="0_Transformer",
        )
    )
    (encoding,) = engine.encode(TEXTS[:1])
    x = torch.tanh(first["linear.weight"] @ states(encoding).mean(dim=0) + first["linear.bias"])
    x = torch.nn.functional.layer_norm(x, (12,), norm["norm.weight"], norm["norm.bias"])
    expected = torch.nn.functional.normalize(
        second["linear.weight"] @ x + second["linear.bias"], dim=0
    )
    found = torch.from_numpy(engine(TEXTS[0])["embedding"].vector)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_dense_layer_without_a_bias(folder, load, states):
    tensors = {"linear.weight": linear(12)["linear.weight"]}
    settings = {**DENSE, "bias": False, "activation_function": "torch.nn.modules.linear.Identity"}
    _, engine = load(folder(("Pooling", POOLING, {}), ("Dense", settings, tensors), NORMALIZE))
    (encoding,) = engine.encode(TEXTS[:1])
    expected = tensors["linear.weight"] @ states(encoding).mean(dim=0)
    found = torch.from_numpy(engine.logits(TEXTS[:1])["embedding"][0])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def describe(top, name="config_sentence_transformers.json", **settings):
    (top / name).write_text(json.dumps(settings))
    return top


def encoded(folder, texts=TEXTS, **options):
    """Vectors of the original library, scaled to length 1."""
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(folder), device="cpu")
    return model.encode(texts, normalize_embeddings=True, convert_to_tensor=True, **options)


SETTINGS = "sentence_bert_config.json"
CAPITALS = ["Red Kite OVER Oslo", "ANNA [SEP] lives", *TEXTS]


@pytest.mark.parametrize("lower", [False, True], ids=["cased", "lower"])
@pytest.mark.parametrize("name", [SETTINGS, "sentence_roberta_config.json"])
def test_lower_case_is_that_of_the_original_library(folder, load, name, lower):
    top = folder(("Pooling", POOLING, {}), NORMALIZE)
    (top / SETTINGS).unlink()
    describe(top, name, do_lower_case=lower, max_seq_length=32)
    describe(top, "tokenizer_config.json", do_lower_case=False, tokenizer_class="BertTokenizer")
    done, engine = load(top)
    found = torch.stack([torch.from_numpy(p["embedding"].vector) for p in engine.predict(CAPITALS)])
    assert done.spec.max_tokens == 32
    assert done.difference <= 1e-5
    torch.testing.assert_close(found, encoded(top, CAPITALS), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "modes"),
    [
        ({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}, "cls"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_mean_tokens": False}, "mean"),
        ({"pooling_mode": ["max"], "include_prompt": True}, "max"),
        ({}, "mean"),
    ],
)
def test_modes_of_pooling_are_those_of_the_original_library(folder, load, settings, modes):
    top = folder(("Pooling", {"word_embedding_dimension": 32, **settings}, {}), NORMALIZE)
    done, engine = load(top)
    found = torch.stack([torch.from_numpy(p["embedding"].vector) for p in engine.predict(TEXTS)])
    assert done.spec.pooling == modes
    torch.testing.assert_close(found, encoded(top), atol=1e-5, rtol=0)


def test_the_longest_input_is_that_of_the_encoders_own_folder(folder, load):
    top = folder(("Pooling", POOLING, {}), NORMALIZE, encoder="0_Transformer")
    describe(top, SETTINGS, max_seq_length=8)  # where that library does not look
    describe(top / "0_Transformer", "tokenizer_config.json", model_max_length=16)
    assert load(top)[0].spec.max_tokens == 32


def test_vectors_that_are_not_normalised_are_logged(folder, load, caplog):
    load(folder(("Pooling", POOLING, {})))
    assert "length 1" in caplog.text


@pytest.mark.parametrize("name", ["dot", "euclidean"])
def test_vectors_whose_length_counts_are_refused(folder, load, name):
    top = describe(folder(("Pooling", POOLING, {})), similarity_fn_name=name)
    with pytest.raises(SourceError, match=f"similarity_fn_name: found '{name}'.*length 1"):
        load(top)
    load(top, ignore=("similarity_fn_name",))


def test_a_usual_prompt_is_refused_or_put_by_hand(folder, load, caplog):
    top = folder(("Pooling", POOLING, {}), NORMALIZE)
    describe(top, prompts={"query": "thanks : "}, default_prompt_name="query")
    with pytest.raises(SourceError, match=r"default_prompt_name: found 'query'.*--ignore default"):
        load(top)
    _, engine = load(top, ignore=("default_prompt_name",))
    assert "'thanks : ' before every text" in caplog.text
    found = torch.from_numpy(engine("thanks : oslo")["embedding"].vector)
    torch.testing.assert_close(found, encoded(top, ["oslo"])[0], atol=1e-5, rtol=0)


def test_prompts_for_some_texts_are_logged(folder, load, caplog):
    top = folder(("Pooling", POOLING, {}), NORMALIZE)
    load(describe(top, prompts={"query": "query: ", "document": ""}, default_prompt_name=None))
    assert "has the prompts 'query: ' (query) for those who ask" in caplog.text


def test_nothing_is_logged_where_nothing_differs(folder, load, caplog):
    top = folder(("Pooling", POOLING, {}), NORMALIZE)
    load(describe(top, prompts={"query": "", "document": ""}, similarity_fn_name="cosine"))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "settings", "part"),
    [
        (None, {"truncate_dim": 8}, "truncate_dim: found 8, allowed: nothing"),
        (None, {"model_type": "SparseEncoder"}, "model_type: found 'SparseEncoder', allowed: "),
        (None, {"promts": {}}, "promts: found {}; .* Did you mean 'prompts'"),
        (SETTINGS, {"transformer_task": "fill-mask"}, "transformer_task: found 'fill-mask'"),
        (SETTINGS, {"modality_config": {"message": {}}}, "modality_config: found .*chat template"),
        (SETTINGS, {"tokenizer_args": {"padding_side": "left"}}, "tokenizer_args: found"),
        (SETTINGS, {"query_length": 8}, "query_length: found 8, allowed: nothing"),
        (SETTINGS, {"lower": True}, "lower: found True; polyhead does not know this key"),
        ("1_Pooling/config.json", {"include_prompt": False}, "include_prompt: found False"),
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "pools by weightedmean"),
        ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
        ("adapter_config.json", {"base_model_name_or_path": "x/y"}, "answers of x/y. Merge it"),
        ("adapter_config.json", {"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING cannot be merged"),
        ("adapter_model.bin", {}, "adapter_model.bin: an adapter.* Merge it"),
        ("config_setfit.json", {"labels": ["a"]}, "config_setfit.json: SetFit's classifier"),
        ("config.json", {"quantization_config": {"bits": 4}}, r"quantization_config: .*dequantize"),
        ("config.json", {"is_decoder": True}, "is_decoder: found True, allowed: nothing"),
    ],
)
def test_what_a_file_says_and_polyhead_cannot_obey_is_named(folder, load, name, settings, part):
    top = folder(("Pooling", POOLING, {}), NORMALIZE)
    name = name or "config_sentence_transformers.json"
    old = json.loads((top / name).read_text()) if (top / name).is_file() else {}
    describe(top, name, **{**old, **settings})
    with pytest.raises(SourceError, match=part) as caught:
        load(top)
    assert str(top / name.rpartition("/")[0]) in str(caught.value)


def test_an_adapter_without_its_base_is_named(load, tmp_path):
    with pytest.raises(SourceError, match=r"adapter, such as the PEFT library.*save_pretrained"):
        load(describe(tmp_path, "adapter_config.json", base_model_name_or_path="x/y"))


def test_an_adapter_in_another_folder_is_logged(folder, load, caplog):
    top = folder(("Pooling", POOLING, {}), NORMALIZE)
    (top / "mine").mkdir()
    load(describe(top, "mine/adapter_config.json"))
    assert f"{top / 'mine'}: this adapter is not imported" in caplog.text


@pytest.mark.parametrize(
    "kind",
    [
        "sentence_transformers.sparse_encoder.models.MLMTransformer",
        "sentence_transformers.models.WordEmbeddings",
        "sentence_transformers.models.StaticEmbedding",
        "my_code.Transformer",
    ],
)
def test_an_encoder_of_another_kind_is_named(folder, load, kind):
    top = folder(("Pooling", POOLING, {}))
    lines = json.loads((top / "modules.json").read_text())
    lines[0]["type"] = kind
    (top / "modules.json").write_text(json.dumps(lines))
    with pytest.raises(SourceError, match=rf"a module '\w+' here \({kind}\)"):
        load(top)


@pytest.mark.parametrize(
    "kind", ["SpladePooling", "LSTM", "CNN", "WeightedLayerPooling", "Router", "BoW", "LogitScore"]
)
def test_a_module_that_polyhead_does_not_know_is_named(folder, load, kind):
    with pytest.raises(SourceError, match=f"a module '{kind}' here"):
        load(folder((kind, {}, {}), ("Pooling", POOLING, {})))


def test_settings_of_a_module_line_are_named(folder, load):
    top = folder(("Pooling", POOLING, {}))
    lines = json.loads((top / "modules.json").read_text())
    lines[0]["kwargs"] = ["task"]
    (top / "modules.json").write_text(json.dumps(lines))
    with pytest.raises(SourceError, match=r"kwargs: found \['task'\]"):
        load(top)


@pytest.mark.parametrize(
    ("modules", "part"),
    [
        pytest.param([("Pooling", {"pooling_mode_lasttoken": True}, {})], "lasttoken", id="last"),
        pytest.param(
            [("Pooling", {**POOLING, "pooling_mode_max_tokens": True}, {})],
            "pools by mean and max",
            id="two",
        ),
        pytest.param([("Pooling", POOLING, {}), ("CNN", {}, {})], "a module 'CNN'", id="kind"),
        pytest.param(
            [("Pooling", POOLING, {}), NORMALIZE, ("Dense", DENSE, {})], "'Dense'", id="order"
        ),
        pytest.param(
            [("Pooling", POOLING, {}), ("Dense", {"activation_function": "os.system"}, {})],
            "activation os.system",
            id="code",
        ),
        pytest.param(
            [("Pooling", POOLING, {}), ("Dense", {**DENSE, "use_residual": True}, {})],
            "use_residual",
            id="residual",
        ),
        pytest.param(
            [("Pooling", POOLING, {}), ("Dense", {**DENSE, "activation_function": TANH}, {})],
            "weights cannot be read",
            id="no_weights",
        ),
    ],
)
def test_what_cannot_be_imported_is_named(folder, load, modules, part):
    with pytest.raises(SourceError, match=part):
        load(folder(*modules))


def test_a_path_out_of_the_folder_is_refused(folder, load):
    top = folder(("Pooling", POOLING, {}))
    lines = json.loads((top / "modules.json").read_text())
    lines[1]["path"] = "../elsewhere"
    (top / "modules.json").write_text(json.dumps(lines))
    with pytest.raises(SourceError, match="leads out of the folder"):
        load(top)
