"""However many threads call an engine, no more compute at once than it may use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from polyhead import Engine, load
from polyhead.inference.session import OnnxSession


class Watched:
    """A back end that counts how many calls it has at once."""

    def __init__(self, session):
        self._session, self.inputs = session, session.inputs
        self._lock, self._now, self.most = threading.Lock(), 0, 0

    def run(self, outputs, feeds):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            for _ in range(20):  # onnxruntime gives other threads their turn
                found = self._session.run(outputs, feeds)
            return found
        finally:
            with self._lock:
                self._now -= 1

    def info(self):
        return {}


@pytest.mark.parametrize(("intra_op", "workers"), [(1, 2), (2, 1)])
def test_sixteen_threads_share_one_budget(bundle, monkeypatch, intra_op, workers):
    monkeypatch.setattr("polyhead.inference.threads._affinity", lambda: 2)
    watched = Watched(OnnxSession(bundle / "model.onnx"))
    texts = ["anna", "the parcel was late", "thanks", ""]
    with load(bundle, threads=1) as plain:
        expected = [p.to_dict() for p in plain.predict(texts)]
        engine = Engine(
            watched, plain.tokenizer, plain.heads, max_tokens=24, intra_op_threads=intra_op
        )
    with engine, ThreadPoolExecutor(16) as pool:
        lone = pool.map(engine, texts * 16)
        lists = pool.map(engine.predict, [texts] * 16)
        assert [p.to_dict() for p in lone] == expected * 16
        assert [[p.to_dict() for p in found] for found in lists] == [expected] * 16
    assert watched.most == workers


class Failing(Watched):
    """Fails for texts of one length, and remembers when calls ended."""

    def __init__(self, session, tokens):
        super().__init__(session)
        self.tokens, self.ended = tokens, 0

    def run(self, outputs, feeds):
        if feeds["input_ids"].shape[1] == self.tokens:
            raise ValueError("no such length")
        found = super().run(outputs, feeds)
        self.ended += 1
        return found


def engine_of(bundle, monkeypatch, tokens):
    monkeypatch.setattr("polyhead.inference.threads._affinity", lambda: 2)
    failing = Failing(OnnxSession(bundle / "model.onnx"), tokens)
    with load(bundle, threads=1) as plain:
        return failing, Engine(failing, plain.tokenizer, plain.heads, max_tokens=24)


@pytest.mark.parametrize("text", ["anna", "the parcel was late"])
def test_a_group_that_fails_leaves_none_running(bundle, monkeypatch, text):
    with load(bundle) as plain:
        (encoding,) = plain.encode([text])
    failing, engine = engine_of(bundle, monkeypatch, tokens=len(encoding))
    with engine:
        with pytest.raises(ValueError, match="no such length"):
            engine.predict(["anna", "the parcel was late", "thanks thanks", "in oslo anna lives"])
        before = failing.ended
        assert failing._now == 0
        engine.predict(["thanks thanks"])
        assert failing.ended == before + 1
