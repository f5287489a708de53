"""What a call asks for, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from polyhead._model import HeadRequest, LoadedModel
from polyhead.bundle.head_spec import check_name
from polyhead.errors import InvalidSetting, UnknownHead, nearest
from polyhead.text.inputs import KINDS

Options = Mapping[str, Mapping[str, Any]]
"""Settings of single heads for one call, by head name: ``{"summary": {"ratio": 0.2}}``."""

# Resolved requests that a model keeps; a service asks for a handful of them.
_MOST_REQUESTS = 64


def resolve(heads: Iterable[str] | None, model: LoadedModel) -> HeadRequest:
    """The wanted heads of a model, remembered for the next call; None for all.

    Raises:
        UnknownHead: for a name that the model does not have; names the nearest.
    """
    if heads is None:
        asked = list(model.specs)
    elif not isinstance(heads, Iterable):
        raise UnknownHead(
            f"heads: found {type(heads).__name__}, expected names of {', '.join(model.specs)}."
        )
    else:
        asked = [heads] if isinstance(heads, str) else list(heads)
        for name in asked:
            check_name(name, model.specs)
    wanted = {
        kind: [n for n in model.specs if n in asked and model.specs[n].input == kind]
        for kind in KINDS
    }
    found = HeadRequest(
        text=model.plan("text", wanted["text"]),
        pair=model.plan("pair", wanted["pair"]),
        refused=_refused(wanted, by_name=heads is not None),
    )
    if len(model.requests) < _MOST_REQUESTS:
        model.requests[heads] = found
    return found


def _refused(wanted: Mapping[str, list[str]], *, by_name: bool) -> dict[str, str]:
    """The kinds of inputs that a head named by the caller does not read, or that no head reads."""
    found = {}
    for kind, other in (("text", "pair"), ("pair", "text")):
        if wanted[other] and (by_name or not wanted[kind]):
            found[kind] = f"the head {wanted[other][0]!r} reads {KINDS[other]}"
    return found


def checked_options(options: Options, model: LoadedModel) -> Options:
    """The settings of single heads; their values are for the heads to check, later or now.

    Raises:
        UnknownHead: for settings of a head that the model does not have.
        InvalidSetting: for a setting that a head does not have, or of another shape; or for a value
            out of its range, of a head that writes.
    """
    if not isinstance(options, Mapping):
        raise InvalidSetting(
            f"options: found {type(options).__name__}, expected settings by head, as in"
            " {'summary': {'k': 2}}."
        )
    for head, settings in options.items():
        check_name(head, model.specs)
        if not isinstance(settings, Mapping):
            raise InvalidSetting(
                f"options: found {type(settings).__name__} for the head {head!r}, expected"
                " values by option, as in {'summary': {'k': 2}}."
            )
        allowed = model.options[head]
        for name in settings:
            if name not in allowed:
                raise InvalidSetting(
                    f"options: the head {head!r} has no option {name!r}; allowed:"
                    f" {', '.join(allowed) or 'none'}.{nearest(str(name), allowed)}"
                )
        if head in model.writers:  # writing takes long: not to be refused after the encoder's pass
            model.writers[head].search(settings)
    return options
