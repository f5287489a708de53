"""Peers that are other engines: each answers as the PyTorch model does, however it is asked.

Those with an environment of their own run where POLYHEAD_PEERS names the folder that
`polyhead bench setup` makes: ``POLYHEAD_PEERS=build/peers``.
"""

import os
from pathlib import Path

import pytest

from polyhead.cli.main import main
from polyhead_bench import environments, metrics, peers
from polyhead_bench.agreement import agreement
from polyhead_bench.convert.cache import Models
from polyhead_bench.errors import PeerFault
from polyhead_bench.harness.process import PeerProcess
from polyhead_bench.peers import padded
from polyhead_bench.report.tables import troubles
from polyhead_bench.run import run
from polyhead_bench.scenarios import RunSettings
from polyhead_bench.texts import asked_of
from polyhead_models import checkpoint as checkpoints

MAX_TOKENS = 64
SENTENCES = {
    "The parcel was late.": "delivery",
    "Thanks, 5 stars!": "praise",
    "late parcel": "delivery",
    "thanks, thanks, the stars": "praise",
}
TEXTS = [*SENTENCES, "", "the parcel was late, " * 9, "thanks, " * 80]
"""The last has more tokens than the model reads at once."""
TEXT_HEADS = ("topic", "things")
OWN = {
    "optimum-fp32": TEXT_HEADS,
    "optimum-int8": TEXT_HEADS,
    "openvino-int8": (*TEXT_HEADS, "embedding"),
    "openvino-int8-padded": (*TEXT_HEADS, "embedding"),
    "openvino-qdq": (*TEXT_HEADS, "embedding"),
}
"""Peers with an environment of their own, and heads that they take."""
LEFT_OUT = ("torch-compile", "polyhead-cuda")


HEADS = {
    "topic": {"kind": "classification", "data": "rows", "target": "topic"},
    "things": {"kind": "tokens", "data": "rows", "target": "things"},
    "embedding": {"kind": "embedding"},
}


def rows():
    """Each sentence some times, with the places of its parcels."""
    for text, topic in SENTENCES.items():
        at = text.find("parcel")
        spans = [] if at < 0 else [{"start": at, "end": at + 6, "label": "THING"}]
        yield from [{"text": text, "topic": topic, "things": spans}] * 8


@pytest.fixture(scope="module")
def several(trained, tmp_path_factory):
    """A model with heads of three kinds, in the forms that peers ask for."""
    folder = tmp_path_factory.mktemp("several")
    made = trained(folder, list(rows()), HEADS, tokens=MAX_TOKENS, epochs=20)
    return Models(
        bundle=made.bundle,
        checkpoint=made.checkpoint,
        student=made.bundle,
        cache=folder / "cache",
        environments=Path(os.environ.get("POLYHEAD_PEERS", folder / "none")),
    )


@pytest.fixture(scope="module")
def expected(several):
    """What PyTorch answers."""
    engine = checkpoints.load(several.checkpoint).engine(on_overflow="truncate")
    predictions = engine.predict(TEXTS)
    return [{name: r.to_dict() for name, r in p.results.items()} for p in predictions]


@pytest.fixture(scope="module")
def load(several):
    """Makes a peer of this environment."""

    def make(name, heads, threads=2):
        folder = several.folder(peers.spec(name).model, heads)
        return peers.load(name, folder, threads, {"heads": heads, "bundle": str(several.bundle)})

    return make


@pytest.fixture(scope="module")
def textbook(load):
    return load("ort-textbook", (*TEXT_HEADS, "embedding"))


@pytest.fixture(scope="module")
def sentences(load):
    return load("sentence-transformers", ("embedding",))


def same(answers, expected):
    """Heads by whether all their answers are the same."""
    return {head: share == 1 for head, share in agreement(answers, expected).items()}


@pytest.mark.parametrize("schedule", [*padded.SCHEDULES, *padded.SIDE_BY_SIDE])
def test_textbook_answers_as_pytorch_in_every_schedule(textbook, expected, schedule):
    assert schedule in textbook.schedules
    found = textbook.answer_all(TEXTS, schedule)
    assert same(found, expected) == {"topic": True, "things": True, "embedding": True}


def test_textbook_answers_no_text(textbook):
    assert [textbook.answer_all([], schedule) for schedule in textbook.schedules] == [[]] * 7


def test_one_thread_has_no_workers(load):
    assert load("ort-textbook", ("topic",), threads=1).schedules == padded.SCHEDULES


def test_padded_peers_have_a_graph_and_a_limit(textbook):
    feeds = textbook.encode("The parcel was late.")
    logits = textbook.run_graph({**feeds, "token_type_ids": feeds["input_ids"] * 0})
    assert [len(head) for head in logits] == [1, 1, 1]
    assert textbook.info()["max_tokens"] == MAX_TOKENS
    assert textbook.info()["threads"] == 2


@pytest.mark.parametrize("schedule", ["batch 32, arrival order", "batch 8, sorted"])
def test_the_bundles_graph_with_a_mask_answers_as_pytorch(load, expected, schedule):
    peer = load("polyhead-int8-padded", (*TEXT_HEADS, "embedding"))
    found = peer.answer_all(TEXTS, schedule)
    assert same(found, expected) == {"topic": True, "things": True, "embedding": True}


def test_settings_of_a_peer_reach_its_engine(load):
    info = load("polyhead-int8-all-threads", ("topic",)).info()
    assert info["multi_threaded"]["intra_op_min_tokens"] == 1


def test_spans_of_padded_texts_end_within_the_text(textbook):
    (short, _) = textbook.answer_all(["late parcel", TEXTS[-2]], "batch 32, arrival order")
    assert [(s["start"], s["end"]) for s in short["things"]["spans"]] == [(5, 11)]


@pytest.mark.parametrize("schedule", ["batch 32, sorted", "batch 8, sorted", "one per call"])
def test_sentence_transformers_gives_the_same_vectors(sentences, expected, schedule):
    assert schedule in sentences.schedules
    assert same(sentences.answer_all(TEXTS, schedule), expected) == {"embedding": True}


def test_sentence_transformers_takes_vectors_only(load):
    with pytest.raises(PeerFault, match="heads topic: it takes one, an embedding"):
        load("sentence-transformers", ("topic",))


SLOW = pytest.mark.skipif(
    "POLYHEAD_PEERS" not in os.environ, reason="a minute and a half: 'make test-release' runs it"
)


@pytest.mark.parametrize(
    "heads", [pytest.param(TEXT_HEADS, marks=SLOW), ("embedding",)], ids=["texts", "vectors"]
)
def test_a_run_of_every_peer_of_this_environment_gives_right_answers(several, heads, tmp_path):
    """All but the one that compiles, which takes longer than all the others."""
    here = {n: s for n, s in peers.PEERS.items() if s.environment is None and n not in LEFT_OUT}
    kind = None if heads == TEXT_HEADS else "embedding.v1"
    own = tuple(name for name, spec in here.items() if spec.kind == kind)
    chosen = own if kind is None else ("polyhead-int8", "torch", *own)
    settings = RunSettings(
        peers=chosen,
        scenarios=("single", "offline"),
        heads=heads,
        threads=2,
        rounds=1,
        command="pytest",
    )
    results = run(several, asked_of(several.bundle, limit=16), tmp_path, settings)
    assert {name: troubles(results, name) for name in chosen} == {name: [] for name in chosen}
    assert all(metrics.agreement(results, name) is not None for name in chosen)


@pytest.mark.parametrize("name", OWN)
def test_peers_in_environments_answer_as_pytorch(several, expected, name):
    spec, heads = peers.spec(name), OWN[name]
    try:
        home = environments.python(several.environments, spec.environment)
    except PeerFault as fault:
        pytest.skip(str(fault))
    with PeerProcess(
        name,
        several.folder(spec.model, heads),
        threads=2,
        options={"heads": heads, "bundle": str(several.bundle)},
        python=home,
        packages=environments.packages(several.environments, spec.environment),
    ) as worker:
        for schedule in worker.ready["schedules"]:
            found = worker.ask("offline", texts=TEXTS, schedule=schedule, answers=True)["answers"]
            assert same(found, expected) == dict.fromkeys(heads, True), schedule
        found = worker.ask("single", texts=TEXTS, answers=True)["answers"]
        assert same(found, expected) == dict.fromkeys(heads, True)
        assert worker.ready["info"]["max_tokens"] == MAX_TOKENS


def test_a_library_that_is_missing_here_is_told(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    with pytest.raises(PeerFault, match="not installed: sentence-transformers needs sentence-tr"):
        peers.check_installed("sentence-transformers")


def test_setup_takes_peers_and_environments(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(environments, "PINS", tmp_path / "pins")
    words = ["bench", "setup", "torch", "optimum-int8", "openvino"]
    assert main([*words, "--environments", str(tmp_path)]) == 1
    rows = [line.split(maxsplit=2) for line in capfd.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        ["torch", "ready"],
        ["optimum-int8", "failed"],
        ["openvino", "failed"],
    ]
    assert "optimum.txt: no such file" in rows[1][2]
    assert "openvino.txt: no such file" in rows[2][2]
