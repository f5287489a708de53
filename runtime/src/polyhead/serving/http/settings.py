"""What a service may be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from polyhead._assembly import Verify
from polyhead.errors import InvalidSetting
from polyhead.system.schema import number, whole_number


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Limits of a service, for each of its models.

    Attributes:
        threads: most threads that compute at once; None for all that the process may use.
        max_queue: most texts that wait to be computed.
        deadline_ms: milliseconds from a request's arrival to its answer; a request may ask for
            fewer.
        max_body: most bytes of a request's body.
        max_texts: most texts of a request.
        max_characters: most characters of a text, or of both texts of a pair together.
        api_keys: keys one of which each request must bring, but those for health and pages; empty
            for a service that is open to all who reach it, and cannot be told to reload.
        grace: seconds in which what is under way is answered at the end.
        verify: as of `polyhead.load`, at the start and at each reload.
    """

    threads: int | None = None
    max_queue: int = 1024
    deadline_ms: float = 10_000
    max_body: int = 4 << 20
    max_texts: int = 512
    max_characters: int = 200_000
    api_keys: tuple[str, ...] = ()
    grace: float = 10
    verify: Verify = "digest"

    def __post_init__(self) -> None:
        if self.threads is not None:
            whole_number("threads", self.threads)
        for name in ("max_queue", "max_body", "max_texts", "max_characters"):
            whole_number(name, getattr(self, name))
        number("deadline_ms", self.deadline_ms, least=1)
        number("grace", self.grace)
        if self.verify not in get_args(Verify):
            raise InvalidSetting(f"verify={self.verify!r}: allowed: {', '.join(get_args(Verify))}.")
        if isinstance(self.api_keys, str) or not all(
            isinstance(key, str)
            and key.isascii()
            and key.isprintable()
            and key.strip() == key != ""
            for key in self.api_keys
        ):
            raise InvalidSetting(
                "api_keys: expected keys of printable ASCII characters without blanks around them."
            )
