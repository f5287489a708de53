"""The search, by itself: greedy and beams, limits, rows of several texts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_decoders import END, HIDDEN, OTHER_END, START, generation, sessions

from polyhead import GraphError, InvalidSetting
from polyhead.inference.generation import SearchOptions, SourceStates, Writing, write

LENGTHS = (3, 5, 5, 5, 3, 7)


def sources(lengths=LENGTHS, seed=3):
    random = np.random.default_rng(seed)
    return [
        SourceStates(
            random.normal(size=(length, HIDDEN)).astype(np.float32),
            np.array([-1, *random.integers(3, 9, size=length - 2), -1]),
        )
        for length in lengths
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("decoders")


@pytest.fixture(scope="module")
def plain(folder):
    spec = generation()
    return spec, sessions(folder, spec)


@pytest.fixture(scope="module")
def copying(folder):
    spec = generation(copies=True)
    return spec, sessions(folder, spec)


@pytest.fixture(scope="module", params=["plain", "copying"])
def decoder(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def tiny(folder):
    """Six tokens, so that every answer of five can be looked at."""
    spec = generation(6, max_tokens=5, default_tokens=5, suppressed=(0,))
    return spec, sessions(folder, spec, seed=21, scale=1.0)


@pytest.fixture(scope="module")
def often_ending(folder):
    """Three of its tokens end an answer."""
    spec = generation(10, end=(1, 2, 3))
    return spec, sessions(folder, spec, seed=4, scale=0.7)


def one_step(decoder, source, tokens):
    """What a decoder gives behind `tokens`: without caches, everything in one step."""
    spec, backend = decoder
    cross = backend.cross(source.states[None])
    ids = np.array([[spec.start, *tokens]])
    past, present = (
        [np.empty((1, spec.heads, count, spec.head_size), np.float32) for _ in cross]
        for count in (0, ids.shape[1])
    )
    return backend.step(ids, past, cross, source.ids[None] if spec.copies else None, present)


def log_probabilities(decoder, source, tokens):
    """Of what comes after `tokens`."""
    scores, _ = one_step(decoder, source, tokens)
    scores = scores[0].astype(np.float64)
    return scores - np.logaddexp.reduce(scores)


def test_greedy_is_the_most_probable_token_each_time_and_caches_change_nothing(decoder):
    for source in sources():
        tokens, total = [], 0.0
        while len(tokens) < 12 and tokens[-1:] != [END]:
            logs = log_probabilities(decoder, source, tokens)
            tokens.append(int(logs.argmax()))
            total += logs.max()
        [found] = write(*decoder, [source])
        assert list(found.ids) == tokens
        assert found.score == pytest.approx(total / len(tokens), abs=1e-5)
        assert found.finished == (tokens[-1] == END)


def answers(decoder, source, allowed):
    """Every answer there is, with the sum of its log-probabilities."""
    spec, _ = decoder
    whole = []

    def grow(tokens, total):
        if tokens[-1:] == [END] or len(tokens) == spec.max_tokens:
            whole.append((tokens, total))
            return
        logs = log_probabilities(decoder, source, tokens)
        for token in allowed:
            grow([*tokens, token], total + logs[token])

    grow([], 0.0)
    return whole


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_beams_without_end_find_the_best_answer_of_all(tiny, penalty):
    for source in sources((3, 6)):
        [found] = write(*tiny, [source], beams=64, length_penalty=penalty, early_stopping="never")
        whole = answers(tiny, source, range(1, 6))
        best = max(whole, key=lambda each: each[1] / len(each[0]) ** penalty)
        # 64 beams lose none of the 5^2 beginnings, but some later ones: never a better answer.
        score = best[1] / len(best[0]) ** penalty
        assert found.score == pytest.approx(score, abs=1e-5)
        assert list(found.ids) == best[0]


def beams_of_transformers(decoder, source, *, beams, most, penalty, stopping):
    """`generate` of transformers 5, in plain words: slowly, and without caches."""
    spec, _ = decoder
    running, ended = [((), 0.0)], []
    for length in range(1, most + 1):
        every = [
            ((*tokens, token), total + log)
            for tokens, total in running
            for token, log in enumerate(log_probabilities(decoder, source, tokens))
        ]
        looked_at = sorted(every, key=lambda each: -each[1])[: (1 + len(spec.end)) * beams]
        ends = [tokens[-1] in spec.end or length == most for tokens, _ in looked_at]
        for (tokens, total), over in list(zip(looked_at, ends, strict=True))[:beams]:
            if over:
                ended.append((tokens, total / length**penalty))
        ended = sorted(ended, key=lambda each: -each[1])[:beams]
        running = [each for each, over in zip(looked_at, ends, strict=True) if not over][:beams]
        if not running:
            break
        if len(ended) == beams:
            reach = most if stopping == "never" and penalty > 0 else length
            if stopping is True or running[0][1] / reach**penalty <= ended[-1][1]:
                break
    return ended[0]


@pytest.mark.parametrize("stopping", [True, False, "never"], ids=str)
@pytest.mark.parametrize("penalty", [-1.0, 0.0, 1.0, 2.0])
def test_beams_are_those_of_transformers(often_ending, penalty, stopping):
    for source in sources((3, 4, 5, 6), seed=11):
        asked = {"beams": 3, "max_tokens": 6, "length_penalty": penalty}
        [found] = write(*often_ending, [source], early_stopping=stopping, **asked)
        tokens, score = beams_of_transformers(
            often_ending, source, beams=3, most=6, penalty=penalty, stopping=stopping
        )
        assert found.ids == tokens
        assert found.score == pytest.approx(score, rel=1e-4)


def test_more_beams_may_find_a_better_answer_and_greedy_is_one_beam(decoder):
    one = write(*decoder, sources())
    assert [w.ids for w in write(*decoder, sources(), beams=1)] == [w.ids for w in one]
    four = write(*decoder, sources(), beams=4)
    assert any(b.score > a.score + 1e-4 for a, b in zip(one, four, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beams": 3},
        {"beams": 4, "early_stopping": True, "length_penalty": 2},
        {"no_repeat": 2, "min_tokens": 5},
        {"beams": 2, "no_repeat": 1, "max_tokens": 6},
    ],
    ids=str,
)
def test_an_answer_is_the_same_to_the_bit_alone_and_in_a_list(decoder, options):
    together = write(*decoder, sources(), **options)
    for source, found in zip(sources(), together, strict=True):
        [alone] = write(*decoder, [source], **options)
        assert (alone.ids, alone.score, alone.positions) == (
            found.ids,
            found.score,
            found.positions,
        )


@settings(max_examples=25)
@given(
    most=st.integers(1, 16),
    share=st.floats(0, 1),
    beams=st.integers(1, 4),
    no_repeat=st.integers(0, 4),
    penalty=st.floats(-2, 2),
    stopping=st.sampled_from([True, False, "never"]),
    seed=st.integers(0, 99),
)
def test_any_options_keep_their_promises(
    plain, most, share, beams, no_repeat, penalty, stopping, seed
):
    least = int(share * most)
    [found] = write(
        *plain,
        sources((4,), seed),
        max_tokens=most,
        min_tokens=least,
        beams=beams,
        no_repeat=no_repeat,
        length_penalty=penalty,
        early_stopping=stopping,
    )
    ids = list(found.ids)
    assert len(ids) <= most
    assert END not in ids[:-1]
    assert found.finished == (ids[-1:] == [END])
    if found.finished:
        assert len(ids) > least
    assert np.isfinite(found.score)
    if no_repeat:
        whole = [START, *ids]
        runs = [tuple(whole[i : i + no_repeat]) for i in range(len(whole) - no_repeat + 1)]
        assert len(set(runs)) == len(runs)


def test_forced_tokens_come_first_and_count_as_sure(folder):
    spec = generation(forced=(7, 9), suppressed=(7,))
    backend = sessions(folder, spec)
    for beams in (1, 3):
        for found in write(spec, backend, sources(), beams=beams, max_tokens=2):
            assert found.ids == (7, 9)
            assert found.score == 0


def test_a_forced_end_is_written_in_the_last_place_and_is_no_finish(folder):
    spec = generation(forced_end=END)
    backend = sessions(folder, spec)
    for beams in (1, 3):
        for found in write(spec, backend, sources(), beams=beams, max_tokens=3):
            assert len(found.ids) < 3 or found.ids[-1] == END
            assert found.finished == (len(found.ids) < 3)


def test_any_of_several_tokens_ends_an_answer(folder):
    spec = generation(end=(OTHER_END, *range(9, 24)))
    for found in write(spec, sessions(folder, spec), sources(), beams=2):
        assert found.finished
        assert set(found.ids[:-1]).isdisjoint(spec.end)


def test_suppressed_tokens_are_never_written(plain):
    spec, backend = plain
    often = {token for found in write(spec, backend, sources()) for token in found.ids} - {END}
    changed = generation(suppressed=tuple(often))
    for beams in (1, 3):
        for found in write(changed, backend, sources(), beams=beams):
            assert often.isdisjoint(found.ids)


@pytest.mark.parametrize("beams", [1, 2])
def test_where_nothing_may_follow_an_answer_ends_unfinished(folder, beams):
    spec = generation(4, suppressed=(2, 3))
    backend = sessions(folder, spec)
    [found] = write(spec, backend, sources((4,)), beams=beams, min_tokens=5, no_repeat=1)
    assert found.ids == ()
    assert not found.finished


@pytest.mark.parametrize("beams", [1, 3])
def test_copies_are_told_by_their_place_in_the_source(copying, beams):
    found = write(*copying, sources((7, 9)), max_tokens=20, min_tokens=15, beams=beams)
    told = 0
    for source, answer in zip(sources((7, 9)), found, strict=True):
        assert len(answer.positions) == len(answer.ids)
        for token, position in zip(answer.ids, answer.positions, strict=True):
            if position >= 0:
                told += 1
                assert source.ids[position] == token
    assert told > 5


def test_probabilities_of_a_decoder_that_copies_sum_to_one(copying):
    scores, copied = one_step(copying, sources((7,))[0], [])
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)
    assert copied[0, [0, -1]].tolist() == [0, 0]  # special tokens
    assert 0 < copied.sum() < 1


class Counting:
    """Counts the rows of each step."""

    def __init__(self, backend):
        self.backend, self.rows = backend, []

    def cross(self, states):
        return self.backend.cross(states)

    def step(self, tokens, *others):
        self.rows.append(len(tokens))
        return self.backend.step(tokens, *others)


def test_finished_rows_are_computed_no_more(plain):
    spec, backend = plain
    counting = Counting(backend)
    random = np.random.default_rng(1)
    texts = [SourceStates(random.normal(size=(5, HIDDEN)).astype(np.float32)) for _ in range(12)]
    found = write(spec, counting, texts, max_tokens=30)
    lengths = [len(each.ids) for each in found]
    assert min(lengths) < max(lengths)
    assert counting.rows == [sum(n > step for n in lengths) for step in range(max(lengths))]


def test_texts_nobody_wants_any_more_are_left_where_they_are(plain):
    spec, backend = plain
    counting = Counting(backend)
    options = SearchOptions.of(spec, min_tokens=12)
    writing = Writing(counting, spec, options, sources((5, 5, 5)), ["a", "b", "c"])
    while not writing.done:
        writing.advance(lambda text: text != "b" or len(counting.rows) < 4)
    assert counting.rows == [3] * 4 + [2] * 8
    assert [search.dropped for search in writing.searches] == [False, True, False]
    alone = write(spec, backend, sources((5, 5, 5)), min_tokens=12)
    assert writing.searches[2].written().ids == alone[2].ids
    assert writing.searches[1].written().ids == alone[1].ids[:4]
    assert Writing(backend, spec, options, sources((5,)), ["b"]).done is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens=0: expected a whole number of at least 1"),
        ({"max_tokens": 41}, "max_tokens=41: expected at most 40"),
        ({"max_tokens": 2.0}, "max_tokens=2.0"),
        ({"max_tokens": True}, "max_tokens=True"),
        ({"max_tokens": 3, "min_tokens": 4}, "min_tokens=4: more than max_tokens, 3"),
        ({"min_tokens": -1}, "min_tokens=-1: expected a whole number of at least 0"),
        ({"beams": 0}, "beams=0"),
        ({"beams": 65}, "beams=65: expected at most 64"),
        ({"no_repeat": -1}, "no_repeat=-1"),
        ({"length_penalty": float("nan")}, "length_penalty=nan"),
        ({"length_penalty": 11}, "length_penalty=11: expected a number from -10 to 10"),
        ({"early_stopping": "always"}, "early_stopping='always': allowed: True, False, 'never'"),
        ({"early_stopping": 1}, "early_stopping=1"),
    ],
    ids=str,
)
def test_an_option_out_of_its_range_is_refused(plain, options, message):
    with pytest.raises(InvalidSetting, match=message.replace("(", r"\(")):
        write(*plain, sources((3,)), **options)


def test_caches_beyond_the_limit_are_refused_before_they_are_made():
    spec = generation(layers=24, heads=16, head_size=64, max_tokens=16_384, default_tokens=16_384)
    with pytest.raises(InvalidSetting, match="caches for a source of 3 tokens would take"):
        write(spec, None, sources((3,)), beams=2)


def test_scores_that_are_no_numbers_are_an_error(plain):
    spec, backend = plain
    [source] = sources((3,))
    source.states[0] = np.nan
    with pytest.raises(GraphError, match="nan or infinite scores"):
        write(spec, backend, [source])
    assert write(spec, backend, sources((3,)))[0].ids


def test_equal_scores_do_not_loop(folder):
    spec = generation(suppressed=tuple(itertools.chain(range(0, 1), range(2, 20))))
    backend = sessions(folder, spec, scale=0.0)
    [found] = write(spec, backend, sources((3,)), beams=3, max_tokens=7)
    assert 1 <= len(found.ids) <= 7
