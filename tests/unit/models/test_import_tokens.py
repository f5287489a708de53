"""Token ids of an import are AutoTokenizer's, whatever files say how texts are read."""

import json

import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors

from polyhead.errors import SourceError
from polyhead_models import checkpoint
from polyhead_models import encoder as encoders
from polyhead_models.errors import EncoderError
from polyhead_models.importing import ImportOptions, import_model, tokenizing
from polyhead_models.importing.source import Source

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,<>[]:'-"]
WORDS = ["parcel", "was", "late", "Late", "order", "the", "Ωmega", "東", "京"]
VOCABULARY = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
TEXTS = ["the <order> was Late", "THE PARCEL", "[SEP] a<order>b", "  東京\t", ""]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
}


@pytest.fixture
def folder(tmp_path):
    """A BERT that classifies, with the tokenizer that `BertTokenizer` writes; room for 4 tokens."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY) + 4, id2label={0: "a", 1: "b"}, initializer_range=0.5, **SIZES
    )
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    made = tokenizers.Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, VOCABULARY.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    transformers.BertTokenizerFast(tokenizer_object=made).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def load(tmp_path):
    """Imports a folder and compares the ids of `TEXTS`; gives the engine."""

    def made(folder, **options):
        done = import_model(str(folder), tmp_path / "checkpoint", ImportOptions(**options))
        engine = checkpoint.load(done.path).engine()
        original = transformers.AutoTokenizer.from_pretrained(folder)
        for text, encoding in zip(TEXTS, engine.encode(TEXTS), strict=True):
            assert encoding.ids.tolist() == original(text)["input_ids"]
        return engine

    return made


def edit(file, **changes):
    state = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**state, **changes}), encoding="utf-8")


def added(content="<order>", **changes):
    flags = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
    return {"content": content, **flags, **changes}


def replace_tokenizer(folder, change):
    """Write tokenizer.json anew, read as it is."""
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    change(state)
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")


@pytest.mark.parametrize(
    "flags",
    [{}, {"special": True}, {"lstrip": True, "rstrip": True}, {"single_word": True}],
    ids=["plain", "special", "strips", "single_word"],
)
def test_a_token_that_only_tokenizer_config_knows(folder, load, flags):
    token = {str(len(VOCABULARY)): added(**flags)}
    edit(folder / "tokenizer_config.json", added_tokens_decoder=token)
    assert len(VOCABULARY) in load(folder).encode(["the <order> was"])[0].ids


@pytest.mark.parametrize("read", [lambda name: encoders.load(name)[1], encoders.tokenizer])
def test_training_reads_the_same_tokens(folder, read):
    token = {str(len(VOCABULARY)): added()}
    edit(folder / "tokenizer_config.json", added_tokens_decoder=token, do_lower_case=False)
    original = transformers.AutoTokenizer.from_pretrained(folder)
    for text, encoding in zip(TEXTS, read(str(folder)).encode(TEXTS), strict=True):
        assert encoding.ids.tolist() == original(text)["input_ids"]


def test_training_refuses_ids_beyond_the_embeddings(folder):
    tokens = {str(len(VOCABULARY) + n): added(f"<order{n}>") for n in range(5)}
    edit(folder / "tokenizer_config.json", added_tokens_decoder=tokens)
    with pytest.raises(EncoderError, match="its tokenizer has ids up to"):
        encoders.load(str(folder))


def test_a_token_that_only_added_tokens_json_knows(folder, load):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    (folder / "added_tokens.json").write_text(json.dumps({"<order>": len(VOCABULARY)}))
    load(folder)


@pytest.mark.parametrize("lower", [False, True], ids=["cased", "uncased"])
def test_lower_case_as_tokenizer_config_says(folder, load, lower):
    edit(folder / "tokenizer_config.json", do_lower_case=lower)
    load(folder)


def test_a_vocabulary_without_tokenizer_json(folder, load):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    load(folder)


def test_a_tokenizer_that_is_read_as_it_is(folder, load):
    parts = [normalizers.Replace("parcel", "order"), normalizers.Lowercase()]
    state = json.loads(normalizers.Sequence(parts).__getstate__())
    replace_tokenizer(folder, lambda t: t.update(normalizer=state))
    first, second = load(folder).encode(["the parcel", "the order"])
    assert first.ids.tolist() == second.ids.tolist()


def test_the_second_text_of_a_pair_has_the_type_that_transformers_gives_it(folder, tmp_path):
    """A tokenizer that does not list token_type_ids feeds none, and the model takes 0 for all."""
    edit(
        folder / "tokenizer_config.json",
        tokenizer_class="PreTrainedTokenizerFast",
        model_input_names=["input_ids", "attention_mask"],
    )
    pair = ("the parcel", "was late")
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(*pair, return_tensors="pt")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = model(**inputs).logits[0]
    done = import_model(str(folder), tmp_path / "checkpoint", ImportOptions(pair=True))
    found = checkpoint.load(done.path).engine().logits([pair])["classification"][0]
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prefix", [False, True], ids=["bare", "prefix"])
def test_a_blank_before_the_first_word(byte_bpe_json, tmp_path, prefix):
    """add_prefix_space of tokenizer_config.json decides, whatever tokenizer.json says."""
    size = tokenizers.Tokenizer.from_str(byte_bpe_json).get_vocab_size()
    config = transformers.RobertaConfig(vocab_size=size + 4, type_vocab_size=1, **SIZES)
    folder = tmp_path / "model"
    transformers.RobertaModel(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(byte_bpe_json, encoding="utf-8")
    settings = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": prefix}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    original = transformers.AutoTokenizer.from_pretrained(folder)
    done = import_model(str(folder), tmp_path / "checkpoint", ImportOptions())
    texts = ["oslo late", " oslo", "the <mask> was"]
    for text, encoding in zip(
        texts, checkpoint.load(done.path).tokenizer.encode(texts), strict=True
    ):
        assert encoding.ids.tolist() == original(text)["input_ids"]


def test_a_lower_casing_of_sentence_transformers_is_in_front(folder):
    """do_lower_case of sentence_bert_config.json, for a tokenizer that keeps capitals."""
    edit(folder / "tokenizer_config.json", do_lower_case=False)
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    line = {"path": "", "type": "sentence_transformers.models.Transformer"}
    (folder / "modules.json").write_text(json.dumps([line]))
    source = Source.find(str(folder))
    ours, original = tokenizing.read(source, ImportOptions())
    (encoding,) = ours.encode(["THE Parcel [SEP]"])
    assert encoding.ids.tolist() == ours.encode(["the parcel [SEP]"])[0].ids.tolist()
    assert tokenizing.check(ours, original, where="here") > len(tokenizing.TEXTS)


def test_special_tokens_are_text_where_the_tokenizer_splits_them(folder, load):
    edit(folder / "tokenizer_config.json", split_special_tokens=True)
    assert load(folder).tokenizer.special_tokens == "text"


def test_code_of_a_tokenizer_is_not_run(folder, load):
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]})
    with pytest.raises(
        SourceError, match=r"tokenizer_config\.json: auto_map: .* polyhead runs none"
    ):
        load(folder)


def test_ids_beyond_the_embeddings_are_refused(folder, load):
    tokens = {str(len(VOCABULARY) + n): added(f"<order{n}>") for n in range(5)}
    edit(folder / "tokenizer_config.json", added_tokens_decoder=tokens)
    with pytest.raises(SourceError, match="its tokenizer has ids up to"):
        load(folder)


def test_no_vocabulary_is_refused(folder, load):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink(missing_ok=True)  # transformers 4 writes it, too
    with pytest.raises(SourceError, match="its tokenizer cannot be loaded"):
        load(folder)


def test_a_sentencepiece_model_names_the_package_that_converts_it(folder, monkeypatch):
    (folder / "tokenizer.json").unlink()
    (folder / "spm.model").write_bytes(b"no model")
    edit(folder / "config.json", model_type="deberta-v2")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer"}')
    monkeypatch.setattr(tokenizing, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"spm\.model .*pip install sentencepiece"):
        tokenizing.read(Source.find(str(folder)), ImportOptions())


def test_other_ids_are_refused(folder):
    """What no rule foresees is found by the comparison."""
    source = Source.find(str(folder))
    ours, original = tokenizing.read(source, ImportOptions())
    original.backend_tokenizer.normalizer = normalizers.Replace("parcel", "order")
    with pytest.raises(SourceError, match="'The parcel was late\\.' otherwise"):
        tokenizing.check(ours, original, where="here")


def test_a_tokenizer_without_its_unknown_token_is_refused(folder, load):
    replace_tokenizer(folder, lambda state: state["model"].update(unk_token="[NONE]"))
    with pytest.raises(SourceError, match=r"its tokenizer cannot read"):
        load(folder)
