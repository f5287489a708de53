"""Models for questions: whether there may be no answer is the importer's to say."""

import pytest
import torch
import transformers

from polyhead.errors import SourceError
from polyhead_models import checkpoint
from polyhead_models.importing import ImportOptions, import_model

PAIR = ("who was late?", "the parcel of anna.")


@pytest.fixture
def folder(wordpiece, save_bert, tmp_path):
    """A BERT that is surest of its first token: that there is no answer."""
    folder = save_bert(tmp_path / "model", "BertForQuestionAnswering")
    model = transformers.BertForQuestionAnswering.from_pretrained(folder)
    with torch.no_grad():
        words = model.bert.embeddings.word_embeddings.weight
        words.zero_()
        words[wordpiece.vocabulary["[CLS]"], 0] = 60.0
        model.qa_outputs.weight.zero_()
        model.qa_outputs.weight[:, 0] = 3.0
    model.save_pretrained(folder)
    return folder


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
