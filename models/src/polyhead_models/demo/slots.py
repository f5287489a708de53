"""Slots of a written pattern: what may fill them and which entity label the fill carries."""

import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Letters that do not decompose into a Latin letter and an accent.
_PLAIN = str.maketrans({"ß": "ss", "ł": "l", "ø": "o", "æ": "ae", "ı": "i", "ə": "e", "đ": "d"})
_CHOICE = re.compile(r"\[([^\]]*)\]")
_SLOT = re.compile(r"\{([A-Z_]+)\}")


@dataclass(frozen=True)
class Piece:
    """A stretch of text; ``label`` names the entity it is, None means plain wording."""

    text: str
    label: str | None = None


@dataclass(frozen=True)
class Values:
    """The written values one split may draw from."""

    products: Sequence[str]
    persons: Sequence[str]
    mail_domains: Sequence[str]


def render(pattern: str, values: Values, rng: random.Random) -> list[Piece]:
    """Pick one of each bracketed choice and fill every slot, never twice with the same value."""
    wording = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), pattern)
    pieces: list[Piece] = []
    used: set[str] = set()
    # A split by a pattern with one group alternates plain wording and slot names.
    for index, part in enumerate(_SLOT.split(wording)):
        if index % 2 == 0:
            pieces.append(Piece(part))
            continue
        filling = fill(part, values, rng)
        while filling[-1].text in used:
            filling = fill(part, values, rng)
        used.add(filling[-1].text)
        pieces.extend(filling)
    return pieces


def fill(slot: str, values: Values, rng: random.Random) -> list[Piece]:
    """The value of a slot, after the preposition it needs where the slot brings its own.

    DAY is a calendar day, DATE anything that follows "since" or "until"; WHEN (past) and SOON
    (future) stand on their own in a sentence. All four carry the label DATE.
    """
    match slot:
        case "PRODUCT":
            return [Piece(rng.choice(values.products), slot)]
        case "PERSON":
            return [Piece(rng.choice(values.persons), slot)]
        case "EMAIL":
            return [Piece(_email(values, rng), slot)]
        case "ORDER_ID":
            return [Piece(_order_id(rng), slot)]
        case "MONEY":
            return [Piece(_money(rng), slot)]
        case "DAY":
            return [Piece(_day(rng), "DATE")]
        case "DATE":
            return [Piece(rng.choice((_day, _day, _part_of_month, _past))(rng), "DATE")]
        case "WHEN":
            return _standing(rng, _past, ("in", _part_of_month))
        case "SOON":
            return _standing(rng, _future)
    raise ValueError(f"unknown slot {slot!r}")


def _standing(
    rng: random.Random,
    bare: Callable[[random.Random], str],
    *led: tuple[str, Callable[[random.Random], str]],
) -> list[Piece]:
    if rng.random() < 0.5:
        return [Piece(bare(rng), "DATE")]
    preposition, day = rng.choice((("on", _day), ("on", _day), *led))
    return [Piece(f"{preposition} "), Piece(day(rng), "DATE")]


def _day(rng: random.Random) -> str:
    number, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(2023, 2026)
    name = MONTHS[month - 1]
    return rng.choice(
        (
            f"{number} {name}",
            f"{name} {_ordinal(number)}",
            f"{name} {_ordinal(number)}, {year}",
            f"the {_ordinal(number)} of {name}",
            f"{number} {name[:3]} {year}",
            f"{year}-{month:02}-{number:02}",
            f"{number:02}/{month:02}/{year % 100:02}",
            f"{number:02}.{month:02}.{year}",
            f"{month}月{number}日",
            rng.choice(WEEKDAYS),
        )
    )


def _ordinal(number: int) -> str:
    if number in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _part_of_month(rng: random.Random) -> str:
    return f"{rng.choice(('mid-', 'early ', 'late '))}{rng.choice(MONTHS)}"


def _past(rng: random.Random) -> str:
    return rng.choice(("yesterday", "last week", f"last {rng.choice(WEEKDAYS)}", "last month"))


def _future(rng: random.Random) -> str:
    return rng.choice(("tomorrow", "next week", f"next {rng.choice(WEEKDAYS)}"))


def _order_id(rng: random.Random) -> str:
    number = rng.randint(10_000_000, 99_999_999)
    digits, letter = str(number), rng.choice("ABCDEFHKX")
    return rng.choice(
        (
            f"#{digits[:5]}-{letter}",
            f"ORD-{digits[:4]}-{digits[4:6]}",
            f"PH00{digits[:6]}",
            digits[:7],
            f"#{digits[:6]}",
            f"{letter}{digits[:3]}-{digits[3:6]}-{digits[6:]}",
            f"{rng.choice(('DE', 'UK', 'CN'))}{digits}",
        )
    )


def _money(rng: random.Random) -> str:
    # Small sums are the common ones, so the exponent is what is uniform.
    whole = int(10 ** rng.uniform(0.7, 3.3))
    cents = rng.choice(("00", "49", "50", "90", "95", "99"))
    comma, point = f"{whole:,}", f"{whole:,}".replace(",", ".")
    return rng.choice(
        (
            f"${comma}.{cents}",
            f"€{point},{cents}",
            f"£{comma}",
            f"£{comma}.{cents}",
            f"{whole} euros",
            f"{point},{cents} €",
            f"USD {whole}",
            f"EUR {comma}.{cents}",
            f"¥{whole * 100:,}",
            f"{whole} bucks",
            f"{whole}元",
            f"CHF {whole}.{cents}",
        )
    )


def _email(values: Values, rng: random.Random) -> str:
    name = rng.choice(values.persons).lower().translate(_PLAIN)
    plain = unicodedata.normalize("NFKD", name)
    # Names in other scripts leave no Latin letters; such people sign up with a made-up handle.
    names = re.findall("[a-z]{2,}", plain.encode("ascii", "ignore").decode()) or ["user", "cn"]
    first, last, number = names[0], names[-1], rng.randint(1, 99)
    full = first if first == last else f"{first}.{last}"
    local = rng.choice(
        (
            full,
            f"{first[0]}{last}",
            f"{first}_{number:02}",
            f"{last}+shop",
            f"{full}{number}",
        )
    )
    return f"{local}@{rng.choice(values.mail_domains)}"
