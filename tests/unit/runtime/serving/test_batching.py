"""Which requests go together, and what a caller gets; `test_random_traffic` tries schedules."""

import asyncio

import pytest

import polyhead
from polyhead import EngineClosed, InputError, InvalidSetting, InvalidText, UnknownHead, load

FOREVER = 3_600_000


def plain(predictions):
    return [prediction.to_dict() for prediction in predictions]


def test_it_answers_as_the_engine_does(engine, serve, requests):
    texts = ["The parcel was late.", "", "né à 東京 👍", "late " * 60]
    found = serve(engine, lambda batcher: asyncio.gather(*requests(batcher, *texts)))
    assert plain(found) == plain(engine.predict(texts))


def test_pairs_heads_and_options_reach_the_engine(engine_of_many_heads, serve):
    pair = ("who?", "Anna lives in Oslo")

    async def scenario(batcher):
        return await asyncio.gather(
            batcher.predict(pair, heads=["answer"], options={"answer": {"n": 2}}),
            batcher.predict("Anna", heads=iter(["topic"])),
            batcher.predict("Anna", heads="embedding"),
        )

    found = serve(engine_of_many_heads, scenario)
    assert [list(p) for p in found] == [["answer"], ["topic"], ["embedding"]]
    direct = engine_of_many_heads(pair, heads=["answer"], options={"answer": {"n": 2}})
    assert found[0].to_dict() == direct.to_dict()


def test_an_idle_batcher_begins_at_once(engine, serve):
    found = serve(engine, lambda batcher: batcher.predict("anna"), max_wait_ms=FOREVER)
    assert found.text == "anna"


def test_requests_of_one_turn_go_together(gate, serve, requests):
    serve(gate.open(), lambda batcher: requests.ended(requests(batcher, "a", "b", "c")))
    assert gate.calls == [["a", "b", "c"]]


def test_what_arrives_while_the_engine_is_busy_waits_for_company(gate, serve, requests):
    async def scenario(batcher):
        tasks = [task for text in "abcd" for task in await requests.begun(batcher, text)]
        assert batcher.stats().waiting == 3
        gate.open()
        await asyncio.gather(*tasks)

    serve(gate, scenario, max_wait_ms=FOREVER)
    assert gate.calls == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize(
    ("waiting", "settings"),
    [
        pytest.param(["b", "c"], {"max_batch": 2, "max_wait_ms": FOREVER}, id="full"),
        pytest.param(["b"], {"max_wait_ms": 1}, id="waited_long_enough"),
    ],
)
def test_a_second_batch_begins_next_to_the_first(gate, serve, requests, waiting, settings):
    async def scenario(batcher):
        tasks = await requests.begun(batcher, "a")
        tasks += requests(batcher, *waiting)
        while len(gate.calls) < 2:  # the first is still running
            await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(*tasks)

    serve(gate, scenario, **settings)
    assert gate.calls == [["a"], waiting]


def test_other_heads_make_another_batch_and_the_oldest_goes_first(gate, serve, requests):
    async def scenario(batcher):
        tasks = requests(batcher, "a", heads=["topic"])
        tasks += requests(batcher, "b", heads=["entities", "topic"])
        tasks += requests(batcher, "c", heads=["topic"])
        tasks += requests(batcher, "d", heads=["topic", "entities"])
        return await asyncio.gather(*tasks)

    found = serve(gate.open(), scenario, max_wait_ms=FOREVER)
    assert gate.calls == [["a", "c"], ["b", "d"]]
    assert [len(p) for p in found] == [1, 2, 1, 2]


def test_a_very_long_text_does_not_hold_up_the_others(gate, serve, requests):
    long = "late " * 4_000

    async def scenario(batcher):
        first, second, short = requests(batcher, long, long + "x", "anna")
        while len(gate.calls) < 2:
            await asyncio.sleep(0)
        assert gate.calls == [[long], ["anna"]]  # one long text, and a thread for the others
        gate.open()
        assert (await short).text == "anna"
        assert [(await p).windows > 1 for p in (first, second)] == [True, True]

    serve(gate, scenario, max_wait_ms=0)
    assert gate.calls == [[long], ["anna"], [long + "x"]]


def test_the_event_loop_goes_on_while_texts_are_computed(gate, serve, requests):
    async def scenario(batcher):
        (task,) = requests(batcher, "a")
        await requests.turns(50)  # the engine is held by the gate all the time
        assert not task.done()
        gate.open()
        await task

    serve(gate, scenario)


def test_equal_requests_in_flight_are_computed_once(gate, serve, requests):
    async def scenario(batcher):
        tasks = await requests.begun(batcher, "a", "a")
        tasks += await requests.begun(batcher, "a")  # while it runs
        gate.open()
        found = await asyncio.gather(*tasks)
        assert batcher.stats().shared == 2
        assert (await batcher.predict("a")) is not found[0]  # nothing is kept
        return found

    first, *others = serve(gate, scenario)
    assert all(other is first for other in others)
    assert gate.calls == [["a"], ["a"]]


INCOMPARABLE = {"embedding": {"dimensions": object()}}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param({"heads": ["topic"]}, {"heads": None}, id="heads"),
        pytest.param({"options": None}, {"options": {"embedding": {}}}, id="options"),
        pytest.param({"options": {"a": {"n": 1}}}, {"options": {"a": {"n": True}}}, id="types"),
        pytest.param({"options": INCOMPARABLE}, {"options": INCOMPARABLE}, id="incomparable"),
    ],
)
def test_requests_that_differ_are_not_shared(engine, serve, requests, left, right):
    async def scenario(batcher):
        await requests.ended(requests(batcher, "a", **left) + requests(batcher, "a", **right))
        return batcher.stats().shared

    assert serve(engine, scenario) == 0


@pytest.mark.parametrize("bad", [None, 5, b"anna", "\ud800", ["a", "b", "c"]], ids=ascii)
def test_a_bad_text_fails_only_its_own_request(engine, gate, serve, requests, bad):
    found = serve(gate.open(), lambda batcher: requests.ended(requests(batcher, "a", bad, "b")))
    first, problem, last = found
    assert (first.text, last.text) == ("a", "b")
    with pytest.raises(InvalidText) as alone:
        engine(bad)
    # Its place in the caller's request, not in the batch.
    assert (type(problem), problem.index, str(problem)) == (InvalidText, 0, str(alone.value))
    assert (gate.calls, gate.alone) == ([["a", bad, "b"]], [])


def nested(depth):
    found = "a"
    for _ in range(depth):
        found = [found]
    return found


def test_what_is_nested_without_end_is_refused_with_a_typed_error(engine, serve, requests):
    endless = {}
    endless["topic"] = {"k": endless}

    def scenario(batcher):
        strange = requests(batcher, nested(900)) + requests(batcher, "a", options=endless)
        return requests.ended(strange + requests(batcher, "b"))

    text, options, good = serve(engine, scenario)
    assert (type(text), type(options), good.text) == (InvalidText, InvalidSetting, "b")


class Strange(str):
    """A text with ideas of its own."""

    __slots__ = ()

    def __hash__(self):
        raise ValueError

    def __eq__(self, _):
        raise ValueError

    def __len__(self):
        raise ValueError


def test_a_subclass_of_str_is_read_as_its_characters(engine, serve, requests):
    text = Strange("The parcel was late.")
    found = serve(engine, lambda batcher: asyncio.gather(*requests(batcher, text, text)))
    alone = engine(text)
    assert type(alone.text) is str
    assert plain([*found, alone]) == plain([engine("The parcel was late.")] * 3)


def test_a_graph_that_fails_for_a_text_fails_only_its_own_request(simulate, stand_in, requests):
    engine = stand_in()
    answered = engine.predict

    def predict(texts, **settings):
        found = answered(texts, **settings)
        return [found[0], polyhead.GraphError("input 1: nan"), *found[2:]]

    engine.predict = predict
    found = simulate(engine, lambda batcher: requests.ended(requests(batcher, "a", "b", "c")))
    assert [str(found[1]), type(found[1])] == ["input 0: nan", polyhead.GraphError]
    assert [found[0].text, found[2].text] == ["a", "c"]


def test_a_wrong_value_of_an_option_fails_those_whose_heads_it_is_for(
    engine_of_many_heads, gate_of, serve, requests
):
    pair, options = ("who?", "Anna lives in Oslo"), {"answer": {"n": 0}}

    def scenario(batcher):
        return requests.ended(requests(batcher, "a", pair, None, options=options))

    good, problem, bad = serve(gate_of(engine_of_many_heads).open(), scenario)
    assert good.text == "a"
    assert isinstance(problem, InvalidSetting)
    assert (type(bad), bad.index) == (InvalidText, 0)


@pytest.mark.parametrize("heads", [["topics"], 5, "topics", [5]], ids=repr)
def test_an_unknown_head_fails_only_the_requests_that_name_it(engine, serve, requests, heads):
    def scenario(batcher):
        tasks = requests(batcher, "a", heads=heads) + requests(batcher, "b")
        return requests.ended(tasks)

    problem, good = serve(engine, scenario)
    assert isinstance(problem, UnknownHead)
    assert isinstance(problem, InputError)
    assert good.text == "b"


def test_everyone_hears_of_a_closed_engine(bundle, serve, requests):
    engine = load(bundle, threads=1)
    engine.close()
    found = serve(engine, lambda batcher: requests.ended(requests(batcher, "a", "b")))
    assert [type(problem) for problem in found] == [EngineClosed] * 2
