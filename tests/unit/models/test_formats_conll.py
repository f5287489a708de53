"""conll and parallel files: words with their columns."""

import re

import pytest

from polyhead_models.data.rows import FileLayout, Row, read
from polyhead_models.errors import DataError

WORDS = FileLayout(columns=("words", "tags"))


@pytest.fixture
def file(tmp_path):
    def write(content, name="rows.conll"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode())
        return path

    return write


@pytest.mark.parametrize("separator", ["\t", " ", "   "], ids=["tab", "blank", "blanks"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_blank_line_ends_a_sentence(file, separator, end):
    lines = ["", "Anna B-PER", "slept O", " ", "", "Bo B-PER"]
    path = file(end.join(line.replace(" ", separator) if line.strip() else line for line in lines))
    assert read(path, None, WORDS) == [
        Row(f"{path}:2", {"words": ["Anna", "slept"], "tags": ["B-PER", "O"]}),
        Row(f"{path}:6", {"words": ["Bo"], "tags": ["B-PER"]}),
    ]


def test_a_blank_line_with_a_tab_does_not_make_tabs_the_separator(file):
    path = file("New B\nYork I\n \t \nfar O\n")
    words = [row.fields["words"] for row in read(path, None, WORDS)]
    assert words == [["New", "York"], ["far"]]


def test_a_line_of_tabs_alone_is_blank(file):
    assert len(read(file("a\tO\n\t\nb\tO\n"), None, WORDS)) == 2


def test_comments_with_a_key_are_fields_of_the_sentence(file):
    path = file("# text = a = b\n# slots: 1\n#intent=x/y\n1\ta\tx\tO\n\n2\tb\tx\tO\n")
    first, second = read(path, None, FileLayout(columns=("_", "words")))
    assert first == Row(f"{path}:4", {"text": "a = b", "intent": "x/y", "words": ["a"]})
    assert second.fields == {"words": ["b"]}


@pytest.mark.parametrize("word", ["#\tO", "#NFL\tO", "# NN\tO", "# O", "#NFL O"], ids=repr)
def test_a_word_that_begins_with_the_mark_is_no_comment(file, word):
    (row,) = read(file(f"{word}\n"), None, WORDS)
    assert row.fields["tags"] == ["O"]


def test_a_column_goes_before_a_comment_of_its_name(file):
    (row,) = read(file("# tags = x\na\tO\n"), None, WORDS)
    assert row.fields["tags"] == ["O"]


def test_ranges_and_empty_nodes_of_conllu_are_no_words(file):
    path = file("1-2\tdon't\t_\n1\tdo\t_\n2\tn't\t_\n2.1\tx\t_\n", "rows.conllu")
    assert read(path, None, FileLayout(columns=("id", "words")))[0].fields["words"] == ["do", "n't"]


def test_a_score_is_a_word(file):
    assert read(file("2-1\tO\n"), None, WORDS)[0].fields["words"] == ["2-1"]


def test_the_beginning_of_a_document_is_no_word(file):
    path = file("-DOCSTART- -X- O\n\na NN O\n")
    assert [row.where for row in read(path, None, FileLayout(columns=("words",)))] == [f"{path}:3"]


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        pytest.param("a\tO\nb\n", 2, "found 1 columns, expected 2 (words, tags)", id="few"),
        pytest.param("a\tO\nb\tO\tx\n", 2, "found 3 columns, expected 2", id="more_than_before"),
        pytest.param("\nword\n", 2, "found 1 columns, expected at least 2", id="first"),
        pytest.param("a O\n# b c\n", 2, "found 3 columns, expected 2", id="no_comment"),
    ],
)
def test_a_line_of_other_columns_is_named(file, content, line, part):
    path = file(content)
    with pytest.raises(DataError, match=rf"^{re.escape(f'{path}:{line}: {part}')}"):
        read(path, None, WORDS)


@pytest.fixture
def folder(file):
    """A folder of parallel files: `folder(label="a\\nb\\n", …)`."""

    def write(**contents):
        for name, content in contents.items():
            path = file(content, f"train/{name}")
        return path.parent

    return write


PARALLEL = FileLayout(columns=("words", "label"))


def test_the_lines_of_parallel_files_are_rows(folder):
    place = folder(words="a b \n\nc\n", label="x\n\n\n")
    assert read(place, "parallel", PARALLEL) == [
        Row(f"{place}/words:1", {"words": "a b", "label": "x"}),
        Row(f"{place}/words:3", {"words": "c", "label": None}),
    ]


def test_parallel_files_may_be_named_one_by_one(folder):
    place = folder(one="a\n", two="x\n")
    (row,) = read([f"{place}/one", f"{place}/two"], "parallel", PARALLEL)
    assert row == Row(f"{place}/one:1", {"words": "a", "label": "x"})


def test_different_numbers_of_lines_are_named_with_their_files(folder):
    place = folder(words="a\nb\n", label="x\n")
    with pytest.raises(DataError) as caught:
        read(place, "parallel", PARALLEL)
    assert str(caught.value) == (
        f"{place}/words: the files have different numbers of lines: {place}/words has 2,"
        f" {place}/label has 1."
    )


def test_a_missing_parallel_file_is_named(folder):
    place = folder(words="a\n")
    with pytest.raises(DataError, match=r"train/label: no such file"):
        read(place, "parallel", PARALLEL)


def test_another_number_of_files_than_columns_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent: found 1 files, expected 2.* or a folder"):
        read(tmp_path / "absent", "parallel", PARALLEL)
