"""What the logits of an imported classifier are: as CrossEncoder and the pipeline take them."""

import json

import pytest
import transformers

from polyhead.errors import SourceError
from polyhead_models import checkpoint
from polyhead_models.importing import ImportOptions, import_model

LIBRARY = "torch.nn.modules."
PAIRS = [("where is the parcel?", "anna lives in oslo"), ("who?", "thanks, thanks!")]
LABELS = {1: ("score",), 3: ("a", "b", "c")}


@pytest.fixture
def save(save_bert, tmp_path):
    """Saves a BERT with `count` logits; gives its folder."""

    def made(count=1, described=None, **config):
        labels = {"id2label": dict(enumerate(LABELS[count])), "initializer_range": 0.6}
        kind = "BertForSequenceClassification"
        folder = save_bert(tmp_path / "model", kind, seed=3, **labels, **config)
        if described is not None:
            file = folder / "config_sentence_transformers.json"
            file.write_text(json.dumps(described))
        return folder

    return made


@pytest.fixture
def load(tmp_path):
    """Imports a folder: `load(folder, **options)` gives the head's specification and an engine."""

    def made(folder, **options):
        done = import_model(str(folder), tmp_path / "checkpoint", ImportOptions(**options))
        return done.spec, checkpoint.load(done.path).engine()

    return made


def cross_encoder(name):
    return {"model_type": "CrossEncoder", "activation_fn": LIBRARY + name}


STATED = {
    "config": {"sentence_transformers": {"activation_fn": f"{LIBRARY}activation.Sigmoid"}},
    "older": {"sbert_ce_default_activation_function": f"{LIBRARY}activation.Sigmoid"},
    "file": {"described": cross_encoder("activation.Sigmoid")},
    "unnamed": {"described": {"model_type": "CrossEncoder"}},
}


@pytest.mark.parametrize("stated", STATED.values(), ids=STATED)
def test_a_reranker_reads_pairs_and_gives_the_sigmoid(save, load, stated):
    folder = save(**stated)
    spec, engine = load(folder)
    pipeline = transformers.pipeline("text-classification", model=str(folder))
    expected = [pipeline({"text": a, "text_pair": b})["score"] for a, b in PAIRS]
    found = [p["multilabel"].scores["score"] for p in engine.predict(PAIRS)]
    assert (spec.kind, spec.input) == ("multilabel.v1", "pair")
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("stated", STATED.values(), ids=STATED)
def test_it_is_what_cross_encoder_gives(save, load, stated):
    library = pytest.importorskip("sentence_transformers")
    folder = save(**stated)
    _, engine = load(folder)
    expected = library.CrossEncoder(str(folder), device="cpu").predict(PAIRS)
    found = [p["multilabel"].scores["score"] for p in engine.predict(PAIRS)]
    assert found == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("problem", [None, "regression"])
def test_a_reranker_without_activation_gives_its_logit(save, load, problem):
    library = pytest.importorskip("sentence_transformers")
    stated = {"sentence_transformers": {"activation_fn": f"{LIBRARY}linear.Identity"}}
    folder = save(problem_type=problem, **stated)
    spec, engine = load(folder)
    expected = library.CrossEncoder(str(folder), device="cpu").predict(PAIRS)
    found = [p["regression"].value for p in engine.predict(PAIRS)]
    assert spec.input == "pair"
    assert found == pytest.approx(expected.tolist(), rel=1e-4)


def test_a_problem_type_is_none_of_cross_encoders_activations(save, load, caplog):
    library = pytest.importorskip("sentence_transformers")
    folder = save(problem_type="regression", described={"model_type": "CrossEncoder"})
    _, engine = load(folder)
    expected = library.CrossEncoder(str(folder), device="cpu").predict(PAIRS)
    found = [p["multilabel"].scores["score"] for p in engine.predict(PAIRS)]
    assert found == pytest.approx(expected.tolist(), abs=1e-6)
    assert "--answer number" in caplog.text


def test_one_logit_of_an_unknown_kind_is_its_sigmoid_and_it_is_said(save, load, caplog):
    folder = save()
    spec, engine = load(folder)
    pipeline = transformers.pipeline("text-classification", model=str(folder))
    score = engine("anna lives in oslo")["multilabel"].scores["score"]
    assert spec.input == "text"
    assert score == pytest.approx(pipeline("anna lives in oslo")[0]["score"], abs=1e-6)
    assert "--answer number" in caplog.text
    assert "--pair" in caplog.text


def test_what_the_user_says_counts(save, load):
    stated = {"sentence_transformers": {"activation_fn": f"{LIBRARY}activation.Sigmoid"}}
    assert load(save(**stated), problem="regression")[0].kind == "regression.v1"


@pytest.mark.parametrize(
    ("name", "problem", "kind"),
    [
        ("activation.Sigmoid", None, "multilabel.v1"),
        ("linear.Identity", None, "classification.v1"),
        ("linear.Identity", "multi_label_classification", "multilabel.v1"),
        ("activation.Softmax", None, "classification.v1"),
    ],
)
def test_several_logits_of_a_cross_encoder(save, load, name, problem, kind):
    spec, _ = load(save(3, cross_encoder(name), problem_type=problem))
    assert (spec.kind, spec.input) == (kind, "pair")


@pytest.mark.parametrize("name", [f"{LIBRARY}activation.Tanh", "my_code.Sigmoid"])
def test_an_activation_that_no_kind_has_is_refused(save, load, name):
    folder = save(sentence_transformers={"activation_fn": name})
    with pytest.raises(SourceError, match=f"activation_fn: found {name}, allowed: Sigmoid, Ident"):
        load(folder)


def test_one_logit_cannot_choose(save, load):
    with pytest.raises(SourceError, match="--answer labels"):
        load(save(), problem="single_label_classification")
