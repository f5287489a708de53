"""What a configuration may say of pairs, answers, summaries and vectors, and what it may not."""

import pytest

from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.errors import ConfigError, DataError
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train

PAIR = ["question", "context"]
ANSWER = {"kind": "answer", "text": PAIR, "target": "answers"}
VECTOR = {"kind": "embedding", "text": ["one", "two"]}
CONTEXT = "the parcel was late in oslo"
QUESTION = {
    "question": "where",
    "context": CONTEXT,
    "answers": [{"text": "oslo", "start": CONTEXT.index("oslo")}],
}


@pytest.fixture
def made(write_config, write_rows, tmp_path):
    """`made(head, rows, validation, **changes)`: the path of a configuration with one head."""

    def make(head, rows=(), validation=None, **changes):
        it = {"data": "messages", **head}
        path = write_config(
            tmp_path,
            heads={"topic": None, "entities": None, "embedding": None, "it": it},
            data={"messages": {"test": None, **({} if validation else {"validation": None})}},
            training={"epochs": 1},
            **changes,
        )
        write_rows(tmp_path / "data" / "train.jsonl", list(rows))
        if validation:
            write_rows(tmp_path / "data" / "validation.jsonl", list(validation))
        return path

    return make


def kind(name, **more):
    return {"kind": name, "target": "x", **more}


@pytest.mark.parametrize(
    ("head", "message"),
    [
        pytest.param(
            kind("answer"), "text: a head of kind 'answer' reads a pair: name two", id="1"
        ),
        pytest.param(
            kind("tokens", text=PAIR),
            "text: a head of kind 'tokens' reads a lone text: name one key",
            id="pair_of_tokens",
        ),
        pytest.param(
            kind("summary", text=PAIR), "'summary' reads a lone text: name one key", id="summary"
        ),
        pytest.param(
            kind("classification", text=["a", "b", "c"]),
            "text: found ['a', 'b', 'c'], expected one key, or two for a pair",
            id="three",
        ),
        pytest.param(kind("classification", text=[]), "text: found [], expected one key", id="0"),
        pytest.param(
            {"kind": "embedding", "text": "one"},
            "text: a head of kind 'embedding' learns from two texts: name two keys",
            id="lone_embedding",
        ),
        pytest.param(
            {"kind": "answer", "text": PAIR}, "needs the keys 'data' and 'target'", id="no_target"
        ),
        *(
            pytest.param(
                kind(name, **{"text": PAIR} if name == "answer" else {}, **{key: value}),
                f"{key}: a head of kind {name!r} has no such key",
                id=f"{name}_{key}",
            )
            for name, key, value in (
                ("classification", "longest", 3),
                ("classification", "tags", "words"),
                ("tokens", "sentences", 2),
                ("tokens", "summaries", "x"),
                ("summary", "longest", 3),
                ("answer", "dimensions", [8]),
                ("summary", "words", 8),
                ("summary", "price", 0.1),
                ("compress", "longest", 2),
            )
        ),
        pytest.param({**ANSWER, "longest": 0}, "longest: found 0, expected at least 1", id="l0"),
        pytest.param(kind("summary", sentences=0), "sentences: found 0, expected", id="s0"),
        pytest.param(kind("compress", words=0), "words: found 0, expected at least 1", id="w0"),
        pytest.param(kind("compress", price=2.0), "price: found 2.0, expected 0 to 1", id="p2"),
        pytest.param(
            kind("compress", text=PAIR), "'compress' reads a lone text: name one key", id="compress"
        ),
        pytest.param({**VECTOR, "dimensions": [0]}, "dimensions: found [0], expected", id="d0"),
        pytest.param(
            {**ANSWER, "stride": -1}, "stride: found -1, expected at least 0", id="stride"
        ),
        pytest.param(
            {**ANSWER, "pooling": "cls"}, "pooling: a head of kind 'answer'", id="pooling"
        ),
        pytest.param(kind("tokens", tags="bio"), "tags", id="tags"),
    ],
)
def test_a_key_that_does_not_fit_is_named(made, head, message):
    path = made(head)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert f"{path}: heads.it" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("head", "reads"),
    [
        (ANSWER, "pair"),
        (VECTOR, "text"),
        (kind("classification", text=PAIR), "pair"),
        (kind("regression", text=PAIR), "pair"),
        (kind("multilabel", text=["one"]), "text"),
    ],
)
def test_two_keys_are_a_pair_but_for_an_embedding(made, head, reads):
    assert config.load(made(head)).heads["it"].input == reads


def test_a_size_above_the_vectors_is_refused_before_training(made, tmp_path):
    rows = [{"one": "anna", "two": "oslo"}]
    made = config.load(made({**VECTOR, "dimensions": [8, 64]}, rows))
    with pytest.raises(ConfigError, match=r"heads\.it: dimensions: found 64; .* 32 numbers"):
        train(made, tmp_path / "checkpoint")


def test_a_stride_as_long_as_a_text_is_refused(made):
    path = made({**ANSWER, "stride": 48}, [QUESTION])
    with pytest.raises(ConfigError, match=r"heads\.it: stride: found 48, expected .* 48"):
        config.load(path)


@pytest.mark.parametrize(
    ("head", "row", "message"),
    [
        pytest.param(
            ANSWER,
            {**QUESTION, "answers": [{"text": "oslo", "start": 90}]},
            "'answers': the answer 'oslo' at 90 is outside the text, which has 27 characters",
            id="outside",
        ),
        pytest.param(
            ANSWER,
            {**QUESTION, "answers": [{"text": "oslo", "start": 4}]},
            "'answers': the answer 'oslo' is not at 4, where 'parc' is",
            id="elsewhere",
        ),
        pytest.param(ANSWER, {"context": "a", "answers": []}, "no key 'question'", id="question"),
        pytest.param(
            {**VECTOR, "target": "score"},
            {"one": "a", "two": "b", "score": 5},
            "'score': found the score 5, expected a number from -1 to 1",
            id="score",
        ),
        pytest.param(
            kind("summary"),
            {"text": ["Anna.", "Late."], "x": [1]},
            "'x': found 1 marks for 2 sentences",
            id="marks",
        ),
        pytest.param(
            kind("summary", summaries="tldr"),
            {"text": ["Anna.", "Late."], "x": [1, 0], "tldr": [3]},
            "'x': found the summaries [3], expected a text or a list of them",
            id="summaries",
        ),
        pytest.param(
            kind("compress"),
            {"text": "Anna.", "x": ["late", "!"]},
            "'x': found the short text '!', expected one with words",
            id="short",
        ),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(made, head, row, message):
    rows = [QUESTION, row] if head is ANSWER else [row]
    path = made(head, rows)
    with pytest.raises(DataError) as caught:
        examples.load(config.load(path), "train")
    assert f"train.jsonl:{len(rows)}: {message}" in str(caught.value)


LONG = {**QUESTION, "question": "the parcel " * 30}


def test_a_question_that_leaves_no_room_is_named_by_file_and_line(made, tmp_path):
    made = config.load(made(ANSWER, [QUESTION, LONG]))
    with pytest.raises(DataError, match=r"train\.jsonl:2: .*the first text of the pair leaves 0"):
        train(made, tmp_path / "checkpoint")


def test_so_is_a_question_of_the_validation_split(made, tmp_path):
    made = config.load(made(ANSWER, [QUESTION], validation=[QUESTION, LONG]))
    with pytest.raises(DataError, match=r"validation\.jsonl:2: .*the first text of the pair"):
        train(made, tmp_path / "checkpoint")


def test_figures_need_questions_that_fit(made, tmp_path):
    path = made(ANSWER, [QUESTION])
    done = train(config.load(path), tmp_path / "checkpoint")
    bad = [*[QUESTION] * 1030, LONG]
    known = examples.load(config.load(made(ANSWER, bad)), "train")
    with pytest.raises(DataError, match=r"train\.jsonl:1031: .*the first text of the pair"):
        evaluate(checkpoint.load(done.path).engine(), known)
