"""The blocks, tables and links of a Markdown page."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: path from the root of the repository.
        line: of its first line of code, from 1.
        language: behind the fence.
        code: between the fences.
        reason: why no test can run it, from a comment in front of it; None where one can.
    """

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text(page: str) -> str:
    """A page of this repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """The fenced blocks of a page in these languages; of all where none is named."""
    source = text(page)
    return [
        Block(
            page,
            source.count("\n", 0, found.start("code")) + 1,
            found["language"],
            found["code"],
            found["reason"],
        )
        for found in _BLOCK.finditer(source)
        if not languages or found["language"] in languages
    ]


def table(page: str, title: str) -> list[list[str]]:
    """The cells of the first table under a heading, without the table's own head."""
    _, found, rest = f"\n{text(page)}".partition(f"\n{title}\n")
    assert found, f"{page}: no heading {title!r}"
    lines = re.search(r"(?:^\|.*\n)+", rest, flags=re.MULTILINE)
    assert lines, f"{page}: no table under {title!r}"
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines[0].splitlines()[2:]
    ]


def commands(page: str) -> list[tuple[str, str]]:
    """Each command of the shell blocks of a page, with its place; continued lines are joined."""
    found = []
    for block in blocks(page, "sh"):
        code = block.code.replace("\\\n", " ")
        found += [(str(block), line.strip()) for line in code.splitlines() if line.strip()]
    return [(place, line) for place, line in found if not line.startswith("#")]
