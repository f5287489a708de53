"""Words with BIO tags become a text with character spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_models.config import Config, DataConfig, EncoderConfig, HeadConfig
from polyhead_models.data import examples
from polyhead_models.errors import DataError

TAGS = ("O", "B-PERSON", "I-PERSON", "B-PLACE", "I-PLACE")
TAGGED = st.lists(
    st.tuples(
        st.text("ab é東👍-", min_size=1, max_size=4).filter(str.strip), st.sampled_from(TAGS)
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def load(tmp_path_factory, write_rows):
    """The example of one row of words and tags."""
    folder = tmp_path_factory.mktemp("tagged")
    head = HeadConfig(kind="tokens", data="news", text="words", target="tags")
    made = Config(
        encoder=EncoderConfig(name="tiny"),
        data={"news": DataConfig(train=str(folder / "news.jsonl"))},
        heads={"entities": head},
    )

    def read(words, tags):
        write_rows(folder / "news.jsonl", [{"words": words, "tags": tags}])
        return examples.load(made, "train")[0]

    return read


def phrases(tagged):
    """Label and words of every span, by the plain reading of BIO tags, without outer blanks."""
    found, before = [], "O"
    for word, tag in tagged:
        if tag == "O":
            before = "O"
            continue
        if tag.startswith("I") and before[1:] == tag[1:]:
            found[-1][1].append(word)
        else:
            found.append((tag[2:], [word]))
        before = tag
    return [(label, " ".join(words).strip()) for label, words in found]


@given(TAGGED)
def test_the_text_of_a_span_is_its_words(load, tagged):
    words, tags = zip(*tagged, strict=True)
    example = load(words, tags)
    found = [(label, example.text[a:b]) for label, a, b in example.references["entities"]]
    assert found == phrases(tagged)


@given(TAGGED)
def test_the_text_is_the_words_with_one_space_between(load, tagged):
    words, tags = zip(*tagged, strict=True)
    assert load(words, tags).text == " ".join(words)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        pytest.param(["O", "I-A", "I-A"], [("A", 2, 5)], id="after_O"),
        pytest.param(["I-A", "O", "O"], [("A", 0, 1)], id="at_the_start"),
        pytest.param(["B-A", "I-B", "I-B"], [("A", 0, 1), ("B", 2, 5)], id="other_label"),
        pytest.param(["B-A", "O", "I-A"], [("A", 0, 1), ("A", 4, 5)], id="after_a_gap"),
    ],
)
def test_an_inside_tag_without_its_beginning_opens_a_span(load, tags, spans):
    assert load(["a", "b", "c"], tags).references["entities"] == tuple(spans)


def test_a_beginning_tag_closes_the_span_before(load):
    found = load(["a", "b"], ["B-A", "B-A"]).references["entities"]
    assert found == (("A", 0, 1), ("A", 2, 3))


def test_a_label_may_hold_a_dash(load):
    found = load(["a", "b"], ["B-ORDER-ID", "I-ORDER-ID"]).references["entities"]
    assert found == (("ORDER-ID", 0, 3),)


@pytest.mark.parametrize("count", [1, 3], ids=["fewer", "more"])
def test_another_number_of_tags_than_words_is_refused(load, count):
    with pytest.raises(DataError, match=rf":1: 'tags': found {count} tags for 2 words"):
        load(["a", "b"], ["O"] * count)


@pytest.mark.parametrize("tag", ["X-A", "B", "B-", "b-A", "PERSON", "", "o"])
def test_what_is_no_tag_is_refused(load, tag):
    with pytest.raises(DataError, match=rf":1: 'tags': found the tag '{tag}', expected O, B-"):
        load(["a", "b"], ["O", tag])


def test_a_tag_that_is_no_text_is_refused(load):
    with pytest.raises(DataError, match=r"news\.jsonl:1: .*expected O, B-LABEL or I-LABEL"):
        load(["a", "b"], ["O", 1])


def test_tags_on_a_plain_text_are_refused(load):
    message = r"news\.jsonl:1: 'tags': found the span 'O', .* need a text that is a list of words"
    with pytest.raises(DataError, match=message):
        load("a b", ["O", "O"])


def test_cells_have_words_and_tags_as_json(tmp_path):
    path = tmp_path / "news.tsv"
    path.write_text('words\ttags\n["Anna","is late"]\t["B-PERSON","O"]\n')
    head = HeadConfig(kind="tokens", data="news", text="words", target="tags")

    def read(**lists):
        data = {"news": DataConfig(train=str(path), lists=lists)}
        encoder = EncoderConfig(name="tiny")
        return examples.load(Config(encoder=encoder, data=data, heads={"entities": head}), "train")

    (found,) = read(words="json")
    assert (found.text, found.references) == ("Anna is late", {"entities": (("PERSON", 0, 4),)})
    with pytest.raises(DataError, match=r":2: 'tags': .* need a text that is a list of words"):
        read()
    path.write_text("words\ttags\na b\t(O)\n")
    with pytest.raises(
        DataError, match=r":2: column 'words': found 'a b', expected a list in JSON"
    ):
        read(words="json")
