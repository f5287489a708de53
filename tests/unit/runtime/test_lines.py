"""The lines of text files, whatever system and editor wrote them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead import PolyheadError
from polyhead.system.lines import decoded, read_lines


class Refused(PolyheadError):
    pass


@pytest.fixture
def read(tmp_path):
    def found(content: bytes) -> list[tuple[int, str]]:
        (tmp_path / "in.txt").write_bytes(content)
        return list(read_lines(tmp_path / "in.txt", Refused))

    return found


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
def test_lines_end_as_on_any_system_and_keep_their_numbers(read, end, mark, last):
    content = end.join(["a", "", "é 東", "b"]) + (end if last else "")
    found = read(mark + content.encode())
    assert [(number, line.rstrip("\r\n")) for number, line in found] == [
        (1, "a"),
        (2, ""),
        (3, "é 東"),
        (4, "b"),
    ]
    assert "".join(line for _, line in found) == content


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\0"])
def test_what_else_unicode_calls_a_line_end_is_a_character(read, character):
    assert read(f"a{character}b\nc\n".encode()) == [(1, f"a{character}b\n"), (2, "c\n")]


def test_a_return_inside_a_line_is_a_character_where_lines_end_otherwise(read):
    assert read(b"a\rb\nc\rd") == [(1, "a\rb\n"), (2, "c\rd")]


def test_a_mark_inside_a_file_is_a_character(read):
    assert read("a\n\ufeffb\n".encode()) == [(1, "a\n"), (2, "\ufeffb\n")]


def test_an_empty_file_has_no_lines(read):
    assert read(b"") == []


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("utf-16-le", "UTF-16 or UTF-32"),
        ("utf-16-be", "UTF-16 or UTF-32"),
        ("utf-32-be", "UTF-16 or UTF-32"),
    ],
)
def test_other_encodings_are_named(read, encoding, said):
    with pytest.raises(Refused, match=rf"in\.txt:1: found {said}, expected UTF-8\. Convert the"):
        read('{"text": "a"}\n'.encode(encoding))


def test_bytes_that_are_no_utf_8_are_named_with_their_line(read):
    with pytest.raises(Refused, match=r"in\.txt:3: not UTF-8: byte 0xe9 at byte 4 of the line"):
        read(b"a\n\ncaf\xe9\n")


@given(st.lists(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]))))
def test_every_text_comes_back(texts):
    content = "".join(f"{text}\n" for text in texts)
    found = decoded([f"{text}\n".encode() for text in texts], "in.txt", Refused)
    assert "".join(line for _, line in found) == content.removeprefix("\ufeff")
