"""Scenarios over peers that are scripted: what stays of those that fail, and what is warm-up."""

from contextlib import contextmanager

import pytest

from polyhead_bench.errors import PeerFault
from polyhead_bench.harness.roster import Roster
from polyhead_bench.scenarios import SCENARIOS, Context, RunSettings
from polyhead_bench.texts import AskedTexts

LATE = {"topic": {"label": "late"}}


class Scripted:
    """A worker that does as `behave(do, number of the request, request)` says."""

    def __init__(self, behave=lambda do, number, request: {}):
        self.behave, self.asked, self.closed = behave, [], False
        self.ready = {"schedules": ["s"], "callers": 1, "concurrent": True, "rss": 1, "disk": 1}

    def ask(self, do, **request):
        self.asked.append(do)
        texts = request.get("texts", ())
        usual = {"ms": [1.0] * len(texts), "seconds": 1.0, "answers": [LATE] * len(texts)}
        return {**usual, **self.behave(do, len(self.asked), request)}

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def failing(at):
    def behave(do, number, request):
        if number >= at:
            raise PeerFault("out of ideas")
        return {}

    return behave


@contextmanager
def context(worker, **more):
    with Roster() as roster:
        roster.add("polyhead-int8", lambda: worker)
        yield Context(
            **{
                "settings": RunSettings(
                    peers=("polyhead-int8",),
                    scenarios=(),
                    heads=("topic", "entities"),
                    threads=1,
                    rounds=2,
                ),
                "roster": roster,
                "models": None,
                "texts": AskedTexts(("a", "b"), "two texts", (3, 3)),
                "source": None,
                "fixed": {16: ("a",)},
                "start": lambda name, options: pytest.fail("no start was expected"),
                **more,
            }
        )


def queueing(limit):
    """An engine that keeps up to `limit` texts/s; its capacity is 1,000."""

    def behave(do, number, request):
        texts, last = request["texts"], request["arrivals"][-1]
        if last == 0:
            return {"ms": [1000 * len(texts) / 1000] * len(texts)}
        return {"ms": [1.0 if len(texts) / last <= limit else 99.0] * len(texts)}

    return behave


@pytest.mark.parametrize("limit", [120, 500, 900])
def test_the_rate_is_found_by_bisection_in_every_round(limit):
    with context(Scripted(queueing(limit))) as given:
        found = SCENARIOS["server"](given)["polyhead-int8"]
    assert found["capacity"] == pytest.approx(1000)
    assert len(found["rates"]) == 2
    # Arrivals are random: a rate that was asked for is met within some percent.
    assert found["rate"] == pytest.approx(limit, rel=0.15, abs=1000 / 32)
    assert min(point["texts"] for point in found["points"]) >= 200


def test_a_fault_at_a_later_rate_keeps_the_earlier_points():
    with context(Scripted(failing(at=4))) as given:
        found = SCENARIOS["server"](given)["polyhead-int8"]
        assert len(found["points"]) == 2
        assert found["rates"] == []
        assert "out of ideas" in given.roster.faults["polyhead-int8"]


def test_an_interrupt_at_a_later_rate_keeps_the_earlier_points():
    def interrupted(do, number, request):
        if number == 3:
            raise KeyboardInterrupt
        return {}

    with context(Scripted(interrupted)) as given:
        with pytest.raises(KeyboardInterrupt):
            SCENARIOS["server"](given)
        assert len(given.found["polyhead-int8"]["points"]) == 1


def test_a_crash_at_another_start_is_a_fault_of_the_peer():
    def start(name, options):
        raise PeerFault("no memory left")

    with context(Scripted(), start=start) as given:
        assert SCENARIOS["startup"](given) == {}
        assert "no memory left" in given.roster.faults["polyhead-int8"]
        assert "polyhead-int8" in given.roster.workers


def test_numbers_of_heads_that_fail_say_why_and_the_others_are_measured():
    def start(name, options):
        return Scripted(failing(at=1 if len(options["heads"]) == 2 else 100))

    with context(Scripted(), start=start) as given:
        found = SCENARIOS["heads"](given)["polyhead-int8"]
        assert found["ms"] == {"1": [1.0] * 2}
        assert found["samples"] == {"1": [[1.0, 1.0]] * 2}
        assert found["faults"] == {"2": "out of ideas"}
        assert given.roster.faults["polyhead-int8"] == "with 2 heads: out of ideas"


def test_soak_has_slices_with_errors_and_changed_answers():
    def behave(do, number, request):
        return {"latencies": [1.0, 3.0], "errors": 1, "different": 2, "rss": number}

    class NoSource:
        def mixed(self, *_, **__):
            return AskedTexts(("a",), "one", (3,))

    with context(Scripted(behave), source=NoSource()) as given:
        slices = SCENARIOS["soak"](given)["polyhead-int8"]["slices"]
    assert [one["rss"] for one in slices] == list(range(1, 13))
    assert (slices[0]["p50"], slices[0]["errors"], slices[0]["different"]) == (2.0, 1, 2)


@pytest.mark.parametrize("scenario", ["offline", "lengths"])
def test_the_first_round_is_warm_up(scenario):
    def slow_at_first(do, number, request):
        return {"ms": [9.0], "seconds": 9.0} if number == 1 else {"ms": [1.0], "seconds": 1.0}

    worker = Scripted(slow_at_first)
    with context(worker) as given:
        found = SCENARIOS[scenario](given)["polyhead-int8"]
    (times,) = found["seconds" if scenario == "offline" else "ms"].values()
    assert times == [1.0, 1.0]
    assert len(worker.asked) == 3


@pytest.mark.parametrize(("label", "share"), [("late", 1.0), ("praise", 0.0)])
def test_answers_to_lists_are_compared_for_each_schedule(label, share):
    def behave(do, number, request):
        return {"answers": [{"topic": {"label": label}}] * 2 if request.get("answers") else []}

    with context(Scripted(behave), expected=[LATE] * 2) as given:
        found = SCENARIOS["offline"](given)["polyhead-int8"]
    assert found == {"seconds": {"s": [1.0, 1.0]}, "same": {"s": share}}


def test_a_list_with_fewer_answers_ends_the_peer():
    worker = Scripted(lambda do, number, request: {"answers": [LATE]})
    with context(worker, expected=[LATE] * 2) as given:
        assert SCENARIOS["offline"](given) == {}
        assert given.roster.faults == {"polyhead-int8": "s: gave 1 answers to 2 texts."}
    assert worker.closed
