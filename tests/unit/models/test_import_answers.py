"""Models for questions: whether there may be no answer is the importer's to say."""

import pytest
import torch
import transformers

from polyhead.errors import SourceError
from polyhead_models import checkpoint
from polyhead_models.importing import ImportOptions, import_model

PAIR = ("who was late?", "the parcel of anna.")


@pytest.fixture
def folder(wordpiece, wordpiece_json, tmp_path):
    """A BERT that is surest of its first token: that there is no answer."""
    config = transformers.BertConfig(
        vocab_size=wordpiece.vocabulary_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    model = transformers.BertForQuestionAnswering(config).eval()
    with torch.no_grad():
        words = model.bert.embeddings.word_embeddings.weight
        words.zero_()
        words[wordpiece.vocabulary["[CLS]"], 0] = 60.0
        model.qa_outputs.weight.zero_()
        model.qa_outputs.weight[:, 0] = 3.0
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
    return tmp_path / "model"


def answer(folder, target, **options):
    done = import_model(str(folder), target, ImportOptions(**options))
    return checkpoint.load(done.path).engine()(PAIR)["answer"]


def test_a_span_is_always_given_and_it_is_said(folder, tmp_path, caplog):
    assert answer(folder, tmp_path / "checkpoint").text
    assert "--no-answer 0" in caplog.text


def test_no_answer_where_it_is_surer(folder, tmp_path, caplog):
    found = answer(folder, tmp_path / "checkpoint", no_answer=0.0)
    assert found.text == ""
    assert found.no_answer > 0.99
    assert "no-answer" not in caplog.text


def test_a_margin_that_is_not_reached(folder, tmp_path):
    assert answer(folder, tmp_path / "checkpoint", no_answer=1e3).text


def test_another_kind_has_no_such_answer(encoder_folder, tmp_path):
    options = ImportOptions(no_answer=0.0)
    with pytest.raises(SourceError, match="--no-answer"):
        import_model(str(encoder_folder), tmp_path / "checkpoint", options)
