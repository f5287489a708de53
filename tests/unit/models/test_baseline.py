import pytest

from polyhead_models.baseline import baseline
from polyhead_models.data import examples
from polyhead_models.data.examples import Example

TEXTS = ("the parcel of Anna was late", "the parcel of Bo was late")


@pytest.mark.parametrize(
    ("kind", "head", "figure"),
    [("classification.v1", "topic", "accuracy"), ("tokens.v1", "entities", "f1")],
)
def test_a_bag_of_words_learns_easy_rows(trained_config, kind, head, figure):
    train, test = (examples.load(trained_config, split) for split in ("train", "test"))
    assert baseline(kind, head, train, test)[figure] > 0.9


def test_an_embedding_has_no_baseline(trained_config):
    train = examples.load(trained_config, "train")
    assert baseline("embedding.v1", "embedding", train, train) is None


def test_rows_without_a_reference_are_left_out(trained_config):
    train = examples.load(trained_config, "train")
    more = [*train, Example("a:1", "a", "unlabelled", {})]
    with_them = baseline("classification.v1", "topic", more, more)
    assert with_them == baseline("classification.v1", "topic", train, train)


def test_a_seed_gives_the_same_figures_again(trained_config):
    train, test = (examples.load(trained_config, split) for split in ("train", "validation"))
    one, two = (baseline("tokens.v1", "entities", train, test, seed=7) for _ in range(2))
    assert one == two


def test_spans_may_stand_anywhere_in_the_text():
    texts = ["Bo Li met Al", "met Al", "Al", "Bo Li, Bo Li!"] * 5
    made = []
    for text in texts:
        places = [(text.index(name), name) for name in ("Bo Li", "Al") if name in text]
        if text.count("Bo Li") == 2:
            places.append((7, "Bo Li"))
        spans = tuple(("PERSON", start, start + len(name)) for start, name in sorted(places))
        made.append(Example("a:1", "a", text, {"entities": spans}))
    assert baseline("tokens.v1", "entities", made, made)["f1"] == 1


def test_a_text_without_words_has_no_spans(trained_config):
    train = examples.load(trained_config, "train")
    blank = Example("a:1", "a", "\u200b", {"entities": ()})
    test = [*examples.load(trained_config, "test"), blank]
    assert baseline("tokens.v1", "entities", train, test)["precision"] > 0.9


@pytest.mark.parametrize(
    ("kind", "head", "reference", "figure"),
    [
        pytest.param("classification.v1", "topic", "home", 1.0, id="one_label"),
        pytest.param("tokens.v1", "entities", (), 0.0, id="no_spans"),
    ],
)
def test_rows_with_nothing_to_tell_apart_have_a_baseline_too(kind, head, reference, figure):
    rows = [Example("a:1", "a", text, {head: reference}) for text in TEXTS]
    assert next(iter(baseline(kind, head, rows, rows).values())) == figure


def with_references(head, *rows):
    return [Example("a:1", "a", text, {head: reference}) for text, reference in rows]


def test_every_label_of_a_set_is_learnt_by_itself():
    rows = [
        ("the parcel was late", ("late",)),
        ("the cup was broken", ("broken",)),
        ("the parcel was late and broken", ("broken", "late")),
        ("the cup was late and broken", ("broken", "late")),
        ("the cup was fine", ()),
    ]
    train = with_references("tags", *rows)
    test = with_references("tags", ("late and broken", ("broken", "late")), ("fine", ()))
    assert baseline("multilabel.v1", "tags", train, test)["micro_f1"] == 1


def test_a_number_is_learnt_from_words():
    words = {"awful": 1.0, "bad": 2.0, "good": 4.0, "great": 5.0}
    train = with_references("stars", *((f"a {word} cup", n) for word, n in words.items()))
    test = with_references("stars", *((f"{word} tea", n) for word, n in words.items()))
    found = baseline("regression.v1", "stars", train, test)
    assert found["pearson"] > 0.9
    assert found["mae"] < 2


@pytest.mark.parametrize(
    ("kind", "reference", "figure"),
    [
        pytest.param("multilabel.v1", ("late",), 1.0, id="always"),
        pytest.param("multilabel.v1", (), 0.0, id="never"),
        pytest.param("regression.v1", 3.0, 0.0, id="one_number"),
    ],
)
def test_constant_sets_and_numbers_have_a_baseline_too(kind, reference, figure):
    rows = with_references("x", *((text, reference) for text in TEXTS))
    assert next(iter(baseline(kind, "x", rows, rows).values())) == figure
