"""The part of a body that says which texts are meant, and answers in their places."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import msgspec

from polyhead.errors import PolyheadError
from polyhead.serving.http import problems
from polyhead.serving.http.problems import MalformedRequest
from polyhead.text.encoding import Input

T = TypeVar("T")


class TextsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Either ``text``, of a pair with its ``query``, or ``texts``.

    Attributes:
        text: a text; of a pair the second one.
        query: the first text of a pair, such as a question.
        texts: texts, and pairs as lists of two. Whatever else is among them gets an error in its
            place.
        model: a served name; None for the first.
        offsets: how ``start`` and ``end`` count characters.
    """

    text: str | None = None
    query: str | None = None
    texts: list[Any] | None = None
    model: str | None = None
    offsets: Literal["codepoints", "utf16"] = "codepoints"

    def inputs(self) -> list[Any]:
        """The texts, and the pairs as tuples or lists.

        Raises:
            MalformedRequest: unless there is exactly one of ``text`` and ``texts``.
        """
        if (self.text is None) == (self.texts is None):
            found = "neither" if self.text is None else "both"
            raise MalformedRequest(
                f"body: found {found} of 'text' and 'texts', expected one of them: a text, with the"
                " 'query' of a pair where there is one, or a list of texts and of pairs"
                " [query, text]."
            )
        if self.texts is None:
            return [self.text if self.query is None else (self.query, self.text)]
        if self.query is not None:
            raise MalformedRequest(
                "body: 'query' belongs to one 'text'. Among 'texts' a pair is a list [query, text]."
            )
        return self.texts

    def single(self) -> Input:
        """The text, or the pair, of a route that answers one.

        Raises:
            MalformedRequest: unless there is exactly that.
        """
        if self.text is None or self.texts is not None:
            raise MalformedRequest(
                "body: expected 'text', with the 'query' of a pair; not 'texts'."
            )
        return self.text if self.query is None else (self.query, self.text)


def in_places(
    answers: Iterable[T | PolyheadError], plain: Callable[[T], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Answers as plain data; of an error ``{"error": problem document}`` in its place."""
    return [
        {"error": problems.document(found, index=index)}
        if isinstance(found, PolyheadError)
        else plain(found)
        for index, found in enumerate(answers)
    ]
