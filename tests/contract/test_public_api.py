"""What `import polyhead` offers."""

import pytest

import polyhead
from polyhead import errors


@pytest.mark.parametrize("name", polyhead.__all__)
def test_every_public_name_exists_and_is_documented(name):
    thing = getattr(polyhead, name)
    if name == "__version__":
        return
    text = vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__
    assert text, "no docstring of its own"
    assert not text.startswith(f"{name}("), "the docstring is the one that dataclass makes"


def test_all_is_sorted_without_repeats():
    assert list(polyhead.__all__) == sorted(set(polyhead.__all__))


def test_every_error_of_the_runtime_is_public():
    tree = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, polyhead.PolyheadError)
    }
    assert tree <= set(polyhead.__all__)


def test_the_drawn_tree_names_every_error():
    drawn = errors.__doc__ or ""
    tree = [name for name in polyhead.__all__ if hasattr(errors, name)]
    assert [name for name in tree if name not in drawn] == []
