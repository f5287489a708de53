import json
import re
import unicodedata
from pathlib import Path

import pytest

from polyhead_models.demo import corpus

Splits = dict[str, list[corpus.Message]]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return corpus.generate(0)


def entity_texts(messages: list[corpus.Message], *labels: str) -> set[str]:
    return {
        message.text[span.start : span.end]
        for message in messages
        for span in message.entities
        if span.label in labels
    }


def test_the_splits_have_their_sizes(splits: Splits) -> None:
    sizes = {split: len(messages) for split, messages in splits.items()}
    assert sizes == {"train": 2400, "validation": 400, "test": 400}


def test_there_are_enough_patterns_in_every_topic() -> None:
    patterns = corpus.load_patterns()
    assert len(patterns) >= 240
    assert len({pattern.text for pattern in patterns}) == len(patterns)
    for topic in corpus.TOPICS:
        assert sum(pattern.topic == topic for pattern in patterns) >= 30


def test_a_seed_gives_the_same_corpus_again(splits: Splits) -> None:
    assert corpus.generate(0) == splits


def test_another_seed_gives_another_corpus(splits: Splits) -> None:
    other = corpus.generate(1)
    for split, messages in splits.items():
        assert [message.text for message in messages] != [message.text for message in other[split]]


def test_no_pattern_stands_in_two_splits(splits: Splits) -> None:
    used = [{message.pattern for message in messages} for messages in splits.values()]
    assert sum(map(len, used)) == len(set().union(*used)) == len(corpus.load_patterns())


def test_no_message_stands_twice(splits: Splits) -> None:
    texts = [message.text for messages in splits.values() for message in messages]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("label", ["PRODUCT", "PERSON"])
def test_test_names_are_unseen(splits: Splits, label: str) -> None:
    # Shouted and lower-cased messages change a name, so only the folded forms compare.
    def names(*wanted: str) -> set[str]:
        texts = (entity_texts(splits[split], label) for split in wanted)
        return {text.casefold() for text in set().union(*texts)}

    assert names("test").isdisjoint(names("train", "validation"))


@pytest.mark.parametrize("seed", range(3))
def test_spans_fit_the_text(seed: int) -> None:
    for messages in corpus.generate(seed).values():
        for message in messages:
            end = 0
            for span in message.entities:
                assert end <= span.start < span.end <= len(message.text)
                value = message.text[span.start : span.end]
                assert value == value.strip()
                assert "\n" not in value
                end = span.end


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_label_occurs_in_every_split(splits: Splits, split: str) -> None:
    messages = splits[split]
    assert {message.topic for message in messages} == set(corpus.TOPICS)
    assert {message.sentiment for message in messages} == set(corpus.SENTIMENTS)
    labels = {span.label for message in messages for span in message.entities}
    assert labels == set(corpus.LABELS)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_topics_and_sentiments_are_balanced(splits: Splits, split: str) -> None:
    messages = splits[split]
    for topic in corpus.TOPICS:
        share = sum(message.topic == topic for message in messages) / len(messages)
        assert share == pytest.approx(1 / 8, abs=0.01)
    for sentiment in corpus.SENTIMENTS:
        share = sum(message.sentiment == sentiment for message in messages) / len(messages)
        assert share == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("split", ["train", "test"])
def test_names_are_not_only_ascii(splits: Splits, split: str) -> None:
    letters = set("".join(entity_texts(splits[split], "PERSON", "PRODUCT")))
    assert any("CJK" in unicodedata.name(letter, "") for letter in letters)
    assert any(unicodedata.decomposition(letter) for letter in letters)


def test_order_ids_and_addresses_look_the_part(splits: Splits) -> None:
    for messages in splits.values():
        for order in entity_texts(messages, "ORDER_ID"):
            assert re.search(r"\d{2}", order)
        for address in entity_texts(messages, "EMAIL"):
            assert re.fullmatch(r"[\w.+-]+@[\w.-]*example[\w.]*", address, re.IGNORECASE)


def test_no_template_syntax_is_left(splits: Splits) -> None:
    for messages in splits.values():
        for message in messages:
            assert not re.search(r"[{}\[\]|]", message.text)
            assert message.text == message.text.strip()


def test_the_files_hold_the_messages_without_their_patterns(splits: Splits, tmp_path: Path) -> None:
    paths = corpus.write(tmp_path / "new", seed=0)
    assert sorted(tmp_path.rglob("*.*")) == sorted(paths.values())
    for split, messages in splits.items():
        lines = paths[split].read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        assert [record["text"] for record in records] == [message.text for message in messages]
        assert set(records[0]) == {"text", "topic", "sentiment", "entities"}
        first = next(record for record in records if record["entities"])
        assert set(first["entities"][0]) == {"label", "start", "end"}


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    one, two = corpus.write(tmp_path / "one", seed=7), corpus.write(tmp_path / "two", seed=7)
    for split, path in one.items():
        assert path.read_bytes() == two[split].read_bytes()
