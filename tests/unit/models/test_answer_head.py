"""References, targets and loss of answer.v1."""

import numpy as np
import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.answer import AnswerSpans
from polyhead_models.heads.base import IGNORED

ANSWER = NETWORKS["answer.v1"]
SPEC = HeadSpec(kind="answer.v1", output="logits/x", input="pair", max_tokens=16)
QUESTION = "is anna late"
TEXT = "the parcel was late in oslo thanks anna"  # a token a word


@pytest.fixture
def head():
    torch.manual_seed(0)
    return ANSWER(SPEC, width=8, depth=3).eval()


def answers(*found):
    """The reference of answers given as texts."""
    return ANSWER.reference([{"text": t, "start": TEXT.index(t)} for t in found], TEXT)


def marks(encoding, target):
    """The first and the last token as words; the first token of a window is the empty one."""
    words = [encoding.text[a:b] for a, b in encoding.offsets.tolist()]
    (first,) = [w for w, k in zip(words, target.tolist(), strict=True) if k > 0 and k & 1]
    (last,) = [w for w, k in zip(words, target.tolist(), strict=True) if k > 0 and k & 2]
    return first, last


def test_the_target_is_the_first_and_the_last_token_of_the_answer(head, wordpiece):
    (encoding,) = wordpiece.encode([(QUESTION, TEXT)])
    assert marks(encoding, head.target(answers("late in oslo"), encoding)) == ("late", "oslo")
    assert marks(encoding, head.target(answers("late"), encoding)) == ("late", "late")


def test_a_part_of_a_word_is_the_whole_token(head, wordpiece):
    (encoding,) = wordpiece.encode([(QUESTION, TEXT)])
    assert marks(encoding, head.target(answers("arcel wa"), encoding)) == ("parcel", "was")


def test_the_question_is_no_candidate_even_where_it_has_the_answers_words(head, wordpiece):
    (encoding,) = wordpiece.encode([(QUESTION, TEXT)])
    target = head.target(answers("late"), encoding)
    assert target.shape == (len(encoding),)
    assert target.dtype == torch.int64
    ignored = (target == IGNORED).tolist()
    assert ignored == [False, *[True] * 4, *[False] * 8, True]


def test_without_an_answer_the_first_token_is_the_answer(head, wordpiece):
    (encoding,) = wordpiece.encode([(QUESTION, TEXT)])
    target = head.target(answers(), encoding)
    assert target[0] == 3
    assert set(target[1:].tolist()) == {0, IGNORED}


def test_each_window_has_the_answer_only_where_it_holds_all_of_it(head, wordpiece):
    # Windows of 4 of the 8 words, 2 of them shared: 0-3, 2-5, 4-7.
    encoding = wordpiece.encode([(QUESTION, TEXT)])[0].windowed(10, 2)
    found = [
        marks(window, target)
        for window, target in zip(
            encoding.split(), head.targets(answers("late in oslo"), encoding), strict=True
        )
    ]
    assert found == [("", ""), ("late", "oslo"), ("", "")]


def test_an_answer_in_two_windows_is_the_target_of_both(head, wordpiece):
    encoding = wordpiece.encode([(QUESTION, TEXT)])[0].windowed(10, 2)
    targets = head.targets(answers("was late"), encoding)
    found = [marks(w, t) for w, t in zip(encoding.split(), targets, strict=True)]
    assert found == [("was", "late"), ("was", "late"), ("", "")]


def test_an_answer_longer_than_a_window_is_the_target_of_none(head, wordpiece):
    encoding = wordpiece.encode([(QUESTION, TEXT)])[0].windowed(10, 2)
    targets = head.targets(answers(TEXT), encoding)
    assert [marks(w, t) for w, t in zip(encoding.split(), targets, strict=True)] == [("", "")] * 3


@pytest.mark.parametrize("answer", ["anna\u0301", "anna ", " anna"])
def test_characters_that_are_no_token_cut_no_answer(head, wordpiece, answer):
    text = f"the parcel was late{answer:>6}"
    (encoding,) = wordpiece.encode([(QUESTION, text)])
    reference = ANSWER.reference([{"text": answer, "start": text.index(answer)}], text)
    (target,) = head.targets(reference, encoding)
    assert marks(encoding, target) == ("anna", "anna")


def test_the_most_frequent_answer_comes_first_and_of_equals_the_first():
    assert answers("oslo", "in oslo", "in oslo").texts == ("in oslo", "oslo")
    assert answers("oslo", "in oslo").texts == ("oslo", "in oslo")
    assert answers("in oslo", "in oslo").spans == ((20, 27),)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("late", "found 'late', expected a list of answers with text and start"),
        (["late"], "found the answer 'late', expected a table with text and start"),
        ([{"text": "late"}], "expected a table with text and start"),
        ([{"text": None, "start": 0}], "found the answer None, expected a text"),
        ([{"text": "late", "start": "15"}], "at '15' is outside the text, which has 39 characters"),
        ([{"text": "late", "start": -1}], "at -1 is outside the text"),
        ([{"text": "anna", "start": 36}], "at 36 is outside the text"),
        ([{"text": "late", "start": True}], "at True is outside the text"),
        ([{"text": "late", "start": 14}], "'late' is not at 14, where ' lat' is"),
    ],
)
def test_an_answer_that_is_not_in_the_text_is_refused(raw, message):
    with pytest.raises(ValueError, match="answer") as caught:
        ANSWER.reference(raw, TEXT)
    assert message in str(caught.value)


@pytest.mark.parametrize("blank", [[], [("", -1)], [("", 0), (" ", 3)]], ids=repr)
def test_an_empty_list_or_answer_says_that_there_is_no_answer(blank):
    raw = [{"text": text, "start": start} for text, start in blank]
    assert ANSWER.reference(raw, TEXT) == AnswerSpans((), ())
    one = {"text": "late", "start": TEXT.index("late")}
    assert ANSWER.reference([*raw, one], TEXT).texts == ("late",)


def test_the_loss_is_the_cross_entropy_of_first_and_last_token(head):
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 6, 2, generator=random)
    # Answers: tokens 3 to 4; none; nothing to learn in the third.
    targets = torch.full((3, 6), IGNORED)
    targets[0, [0, 2, 3, 4]] = torch.tensor([0, 0, 1, 2])
    targets[1, [0, 2, 3]] = torch.tensor([3, 0, 0])
    expected = []
    for row, candidates, first, last in ((0, [0, 2, 3, 4], 2, 3), (1, [0, 2, 3], 0, 0)):
        for column, wanted in ((0, first), (1, last)):
            values = logits[row, candidates, column].double().numpy()
            expected.append(np.log(np.exp(values).sum()) - values[wanted])
    assert head.loss(logits, targets).item() == pytest.approx(np.mean(expected), rel=1e-6)


def test_the_loss_teaches_no_token_of_the_question(head):
    logits = torch.zeros(1, 5, 2, requires_grad=True)
    head.loss(logits, torch.tensor([[0, IGNORED, IGNORED, 3, IGNORED]])).backward()
    assert (logits.grad[0].abs().sum(dim=1) > 0).tolist() == [True, False, False, True, False]
    assert bool(torch.isfinite(logits.grad).all())


def test_a_batch_without_answers_or_questions_has_no_loss(head):
    logits = torch.ones(2, 4, 2, requires_grad=True)
    loss = head.loss(logits, head.collate([None, None], tokens=4))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_a_batch_pads_its_targets(head, wordpiece):
    encodings = wordpiece.encode([(QUESTION, TEXT), ("is", "late")])
    made = [head.target(answers("late"), encodings[0]), None]
    found = head.collate(made, tokens=20)
    assert found.shape == (2, 20)
    assert (found[0, len(encodings[0]) :] == IGNORED).all()
    assert (found[1] == IGNORED).all()


def test_the_longest_answer_is_the_kinds_own_unless_it_is_set():
    assert ANSWER.fitted(SPEC, []).longest == 30
