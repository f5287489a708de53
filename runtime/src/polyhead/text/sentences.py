"""Sentences of a text, by rules: no model, no language setting, one pass.

A run of marks ends a sentence when white space or the text's end follows it, with these exceptions
and additions. They serve English first; the marks of other scripts are known.

- A period or ellipsis before a lower-case word ends nothing. A `?` or `!` does, unless a closing
  quote or bracket is between: `"Why?" he asked.` is one sentence.
- `Dr.`, `e.g.` and their like (`NEVER`) end nothing. `U.S.`, `etc.`, `Fig.` and initials
  (`SOMETIMES`) end a sentence when the next word is a capitalised one that usually starts
  sentences (`STARTERS`). `No.`, `Art.` and their like (`NUMBERED`) end one unless a number follows.
- A number or letter that opens a sentence (`1. Install it.`) is its list mark; `(ii)` begins one.
- Chinese, Japanese, Devanagari, Urdu and Ethiopic full stops need no white space after them. The
  semicolon is no mark in any script: it joins two clauses.
- A blank line always ends a sentence. A single line break does so before a list bullet only.
"""

# ruff: noqa: RUF001, SIM905 - look-alike marks are what this file is about; lists of words

from __future__ import annotations

import itertools
import re

_NO_SPACE_NEEDED = "。！？｡．।॥۔።"
_MARKS = ".!?…‽؟" + _NO_SPACE_NEEDED
_CLOSERS = "\"')]}»›”’」』）】》〉〕｝］"
_OPENERS = "\"'([{«‹“‘”’»›„‚「『（【《〈¿¡*_–—-"
_SCAN = re.compile(
    r"(?P<space>\s+)"
    rf"|[{_NO_SPACE_NEEDED}][{_MARKS}{re.escape(_CLOSERS)}]*"
    rf"|[{_MARKS}][{_MARKS}{re.escape(_CLOSERS)}]*[“‘«]?"  # those three close in German
    r"(?:[ \u00a0\u202f][»”\"](?=\s|\Z))?"
)
_LEAD = re.compile(rf"\s*[{re.escape(_OPENERS)}]*")
_LETTERS = re.compile(r"[^\W\d_]+")
_BULLET = re.compile(r"(?:[-*+•‣◦▪●]|\(?\d{1,2}[.)]|\(?[a-z]\))\s")
_LIST_MARK = re.compile(r"[(\[]?(?:\d{1,3}|[A-Za-z])")
_ENUMERATOR = re.compile(r"\s*\((?:[ivx]{1,4}|[a-z])\)\s")
_DOTTED = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # U.S, a.m, i.i.d, J
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")

NEVER = frozenset(
    "Dr Mr Mrs Ms Mx Prof Messrs Gen Col Sen Rep Gov Capt Lt Sgt Rev Hon Pres St Ste Mt Ft Mme Mlle"
    " Sra Srta Dña Hr Fr e.g eg i.e ie cf Cf vs viz approx resp ca incl esp z.B d.h bzw"
    " E.g I.e w.r.t".split()
)
SOMETIMES = frozenset(
    "etc al Inc Ltd Co Corp Bros Jr Sr Ph.D Univ Dept Assn Ave Blvd Rd usw p pp v c z"
    " Fig Figs fig figs Eq Eqs Eqn Eqns eq eqs Sec Secs Sect sec Tab Chap Vol vol Thm Lem Prop Alg"
    " App Nr Jan Feb Apr Jun Jul Aug Sep Sept Oct Nov Dec"
    " Mon Tue Tues Wed Thu Thur Thurs Fri".split()
)
NUMBERED = frozenset("No no Nos nos Art art Ch ch Def Ref Refs ref refs Sat Sun Mar".split())
STARTERS = frozenset(
    "A About According Additionally After Again All Also Although An And Another Any As At Because"
    " Before Both But By Consequently Despite During Each Even Every Finally First For From"
    " Furthermore Given Hence Her Here His How However I If In Instead Is It Its Last Later Many"
    " Meanwhile More Moreover Most Much My Nevertheless Next No Not Now Of On Once One Only Or Our"
    " Overall Recently Second Several She He Similarly Since So Some Specifically Still Such Than"
    " That The Their Then There Therefore These They This Those Though Through Thus To Today"
    " Together Two Under Unfortunately Unlike Until Using We Well What When Where Whether Which"
    " While Who Why With Without Yet You Your".split()
)


def split(text: str) -> list[tuple[int, int]]:
    """Find the sentences of a text, in time proportional to its length.

    Args:
        text: any text; empty or white space alone has no sentences.

    Returns:
        `(start, end)` of each sentence in code points: in order, never overlapping, without white
        space at either end. Every other character of the text is in exactly one of them.
    """
    cuts = [0]
    word = begin = 0  # where the present word and the present sentence begin
    for found in _SCAN.finditer(text):
        start, end = found.span()
        if found["space"]:
            word = end
            if _ends_block(text, start, end):
                cuts.append(end)
                begin = end
            elif begin == start:
                begin = end
        elif _ends(text, word, start, end, first=word == begin):
            cuts.append(end)
            word = begin = end
    cuts.append(len(text))
    return [span for a, b in itertools.pairwise(cuts) for span in _trimmed(text, a, b)]


def _trimmed(text: str, start: int, end: int) -> list[tuple[int, int]]:
    piece = text[start:end]
    core = piece.strip()
    start += len(piece) - len(piece.lstrip())
    return [(start, start + len(core))] if core else []


def _ends_block(text: str, start: int, end: int) -> bool:
    """Whether the white space ends a paragraph or comes before a list bullet."""
    lines = max(text.count("\n", start, end), text.count("\r", start, end))
    if lines > 1 or "\u2029" in text[start:end]:
        return True
    return lines == 1 and _BULLET.match(text, end) is not None


def _ends(text: str, word: int, start: int, end: int, *, first: bool) -> bool:
    """Whether the run of marks and closers in `text[start:end]` ends a sentence.

    Args:
        text: the whole text.
        word: where the word before the run begins; it ends at `start`.
        start: first mark of the run.
        end: behind the run.
        first: the word is the first of its sentence.
    """
    run, following = text[start:end], text[end : end + 1]
    closed = run[-1] not in _MARKS
    if run[0] in _NO_SPACE_NEEDED:
        if run[-1] == "．" and following.isdigit():
            return False
        return following not in tuple("、，,；;：:") and not (closed and following == "と")
    if following and not following.isspace():
        # 他来了!她走了, but neither example.org nor Yahoo!ニュース
        return run[-1] in "!?" and start > 0 and _is_cjk(following) and _is_cjk(text[start - 1])
    if not _may_precede(text, run, end, closed=closed):
        return False
    if run[0] != "." or sum(mark in _MARKS for mark in run) > 1:
        return True
    name = text[word:start]
    if first and _LIST_MARK.fullmatch(name):
        return False
    return not _is_abbreviation(name.lstrip(_OPENERS), text, _lead(text, end))


def _may_precede(text: str, run: str, end: int, *, closed: bool) -> bool:
    """Whether what follows the run can begin a sentence."""
    if _ENUMERATOR.match(text, end):
        return True
    lead = _lead(text, end)
    first, second = text[lead : lead + 1], text[lead + 1 : lead + 2]
    if first.islower():
        return run[-1] in "!?؟‽" and not any(dash in text[end:lead] for dash in "-–—")
    if first in tuple(")]}"):
        return False
    is_alone = not second or second.isspace()
    return not (is_alone and first in tuple(",;:" + _MARKS))


def _is_abbreviation(name: str, text: str, lead: int) -> bool:
    """Whether `name` is shortened by its period and the sentence goes on at `text[lead]`."""
    if name in NEVER:
        return True
    if name in NUMBERED:
        return text[lead : lead + 1].isdigit()
    if name in SOMETIMES or _DOTTED.fullmatch(name):
        following = _LETTERS.match(text, lead)
        if following is None or following[0] not in STARTERS:
            return True
        return text.startswith(".", following.end())  # the A of "J. A. Smith"
    return False


def _lead(text: str, end: int) -> int:
    """Where the first word behind `end` begins, after white space and opening quotes."""
    return _LEAD.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty string


def _is_cjk(character: str) -> bool:
    return _CJK.match(character) is not None
