"""A tiny encoder learns 32 rows of every kind and form of data by heart."""

import pytest

from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train

NO_OTHERS = dict.fromkeys(("topic", "entities", "embedding"))
LETTERS, DIGITS = "bdfghjkl", "12345678"
FILLER = "the parcel was late and not late "


@pytest.fixture(scope="module")
def learn(write_config, write_rows, tmp_path_factory):
    """`learn(rows, **settings)`: the figures on the rows that were learnt, and an engine.

    The settings are those of the only head.
    """

    def run(rows, max_tokens=48, validation=None, **settings):
        assert len(rows) == 32
        folder = tmp_path_factory.mktemp("learning")
        head = {"data": "messages", "dropout": 0.0, **settings}
        path = write_config(
            folder,
            encoder={"max_tokens": max_tokens},
            data={"messages": {"validation": validation, "test": None}},
            heads={**NO_OTHERS, "it": head},
            training={"epochs": 40, "learning_rate": 5e-3, "batch_tokens": 256},
        )
        write_rows(folder / "data" / "train.jsonl", rows)
        made = config.load(path)
        learnt = checkpoint.load(train(made, folder / "checkpoint").path)
        engine = learnt.engine()
        return evaluate(engine, examples.load(made, "train"))["it"], engine

    return run


def question(number, *, before="", unanswerable=False):
    """Asks for the letter, the digit or, where that is asked for, something that is not there."""
    letter, digit = LETTERS[number % 8], DIGITS[number * 3 % 8]
    text = f"{before}anna {letter} lives in {digit} oslo"
    asked, answer = [("who", letter), ("where", f"{digit} oslo")][number // 8 % 2]
    answers = [{"text": answer, "start": text.index(answer, len(before) + 4)}]
    if unanswerable and number % 4 == 0:
        asked, answers = "thanks", []
    return {"question": asked, "context": text, "answers": answers}


ANSWER = {"kind": "answer", "text": ["question", "context"], "target": "answers"}


def test_answers(learn):
    rows = [question(n) for n in range(32)]
    found, engine = learn(rows, **ANSWER)
    assert found.value > 0.95
    assert engine.heads["it"].no_answer is None
    result = engine((rows[9]["question"], rows[9]["context"]))["it"]
    assert result.text == rows[9]["answers"][0]["text"]


def test_questions_without_an_answer(learn):
    rows = [question(n, unanswerable=True) for n in range(32)]
    found, engine = learn(rows, validation="data/train.jsonl", **ANSWER)
    assert found.value > 0.95
    assert engine.heads["it"].no_answer is not None
    assert engine(("thanks", rows[0]["context"]))["it"].text == ""


def test_answers_in_texts_of_several_windows(learn):
    rows = [question(n, before=FILLER * (n % 4)) for n in range(32)]
    found, _ = learn(rows, max_tokens=24, stride=6, **ANSWER)
    assert found.windowed == 16
    assert found.value > 0.9


def test_summaries(learn):
    parts = ["The parcel was late.", "Thanks, Anna!", "Oslo is not in the parcel."]
    rows = [
        {
            "text": [f"Anna lives in {DIGITS[n % 8]}.", *parts, f"Is it {LETTERS[n // 4]}?"],
            "marks": [int(n % 2 == 0), 1, 0, 0, int(n % 2)],
        }
        for n in range(32)
    ]
    found, engine = learn(rows, kind="summary", target="marks", sentences=2)
    assert found.metric == "rouge1"
    assert found.value > 0.9
    assert len(engine(" ".join(rows[0]["text"]))["it"].sentences) == 2


def test_shorter_versions(learn):
    # What is kept hangs on the word before, in another sentence.
    rows = [
        {
            "text": f"The parcel was late {DIGITS[n % 8]}. Anna lives in {LETTERS[n // 4]}!",
            "short": f"parcel {DIGITS[n % 8]}. Anna in {LETTERS[n // 4]}",
        }
        for n in range(32)
    ]
    found, engine = learn(rows, kind="compress", target="short")
    assert found.metric == "rouge1"
    assert found.value > 0.9
    assert engine.heads["it"].words == 5
    spans = engine(rows[0]["text"])["it"].spans
    assert all(rows[0]["text"][s.start : s.end] == s.text for s in spans)


def test_the_relation_of_two_texts(learn):
    # Both have the same words together: only who says what makes the difference.
    rows = [
        {"one": f"anna {a}", "two": f"parcel {b} {DIGITS[n // 4]}", "late": late}
        for n in range(32)
        for a, b, late in [[("late", "thanks", "first"), ("thanks", "late", "second")][n % 2]]
    ]
    found, engine = learn(rows, kind="classification", text=["one", "two"], target="late")
    assert found.value > 0.9
    assert engine.heads["it"].input == "pair"


def test_how_near_two_texts_are(learn):
    rows = [
        {"one": f"late {a}", "two": f"parcel {b}", "near": 10.0 * int(a) + int(b)}
        for n in range(32)
        for a, b in [(DIGITS[n % 8], DIGITS[n // 8])]
    ]
    found, engine = learn(rows, kind="regression", text=["one", "two"], target="near")
    assert found.value > 0.95
    assert engine(("late 8", "parcel 1"))["it"].value > engine(("late 1", "parcel 4"))["it"].value


def twins(number):
    """Two texts that have one letter in common, and no other word."""
    letter = (LETTERS + DIGITS)[number % 16]
    return {"one": f"the parcel {letter}", "two": f"{letter} is late, anna"}


EMBEDDING = {"kind": "embedding", "text": ["one", "two"]}


def test_vectors_from_scored_pairs(learn):
    rows = [
        {
            "one": twins(n)["one"],
            "two": twins(n + shift)["two"],
            "score": 1.0 if shift == 0 else -0.5,
        }
        for n, shift in zip(range(32), [0, 3] * 16, strict=True)
    ]
    found, engine = learn(rows, target="score", **EMBEDDING)
    assert found.metric == "ranking"
    assert found.value > 0.8
    assert engine.heads["it"].input == "text"


def test_vectors_from_texts_that_belong_together(learn):
    rows = [{**twins(n), "one": twins(n)["one"] + " not" * (n // 16)} for n in range(32)]
    found, _ = learn(rows, **EMBEDDING)
    assert found.figures["mrr"] > 0.9


def test_vectors_that_may_be_cut(learn):
    rows = [twins(n) for n in range(16)] * 2
    found, engine = learn(rows, dimensions=[8, 16], **EMBEDDING)
    assert found.figures["mrr"] > 0.9
    rankings = []
    for option in ({}, {"it": {"dimensions": 8}}):
        texts = [engine.predict([r[k] for r in rows[:16]], options=option) for k in ("one", "two")]
        first, second = ([p["it"].vector for p in predictions] for predictions in texts)
        best = [max(range(16), key=lambda i, a=a: a @ second[i]) for a in first]
        rankings.append(sum(i == j for i, j in enumerate(best)))
    assert len(first[0]) == 8
    assert min(rankings) >= 14
