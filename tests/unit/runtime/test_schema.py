import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from polyhead.errors import PolyheadError
from polyhead.system.schema import parse, read_json


class Refused(PolyheadError):
    pass


@dataclasses.dataclass(frozen=True)
class Inner:
    epochs: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError("epochs: below 0.")


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    rate: float = 0.5
    count: int = 0
    flag: bool = False
    kind: Literal["first", "second"] = "first"
    layer: Literal["last"] | int | None = None
    inner: Inner = dataclasses.field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    table: Mapping[str, Inner] = dataclasses.field(default_factory=dict)
    free: Any = None


def outer(**values: Any) -> Outer:
    return parse(Outer, {"name": "x", **values}, where="file", error=Refused)


def test_defaults_fill_what_is_left_out():
    assert outer() == Outer("x")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        pytest.param("rate", 2, 2.0, id="whole_number_for_float"),
        pytest.param("layer", "last", "last", id="literal_of_union"),
        pytest.param("layer", -1, -1, id="int_of_union"),
        pytest.param("layer", None, None, id="none_of_union"),
        pytest.param("inner", {"epochs": 3}, Inner(3), id="nested"),
        pytest.param("many", [{}, {"epochs": 2}], (Inner(), Inner(2)), id="list"),
        pytest.param("table", {"a": {"epochs": 2}}, {"a": Inner(2)}, id="table"),
        pytest.param("free", {"any": [1, None]}, {"any": [1, None]}, id="any"),
    ],
)
def test_a_fitting_value_is_taken(field, value, expected):
    found = getattr(outer(**{field: value}), field)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        pytest.param("name", 1, "file: name: found 1, expected a text", id="int_for_str"),
        pytest.param("count", True, "count: found True, expected a whole", id="bool_for_int"),
        pytest.param("count", 1.0, "count: found 1.0", id="float_for_int"),
        pytest.param("flag", 1, "flag: found 1, expected true or false", id="int_for_bool"),
        pytest.param("rate", True, "rate: found True, expected a finite", id="bool_for_float"),
        pytest.param("rate", float("nan"), "rate: found nan", id="nan"),
        pytest.param("rate", float("-inf"), "rate: found -inf", id="infinity"),
        pytest.param("rate", 10**400, "rate: found 1000", id="beyond_float"),
        pytest.param("rate", "1", "rate: found '1'", id="text_for_float"),
        pytest.param("kind", "secnd", "'first', 'second'. Did you mean 'second'", id="literal"),
        pytest.param("kind", ["first"], "kind: found", id="list_for_literal"),
        pytest.param("layer", "lst", "layer: found 'lst'", id="no_member_of_union"),
        pytest.param("layer", True, "layer: found True", id="bool_for_union_with_int"),
        pytest.param("layer", 1.5, "layer: found 1.5", id="float_for_union_with_int"),
        pytest.param("inner", [], "inner: found [], expected a table", id="list_for_table"),
        pytest.param("inner", {"epochs": "3"}, "file: inner: epochs: found '3'", id="nested"),
        pytest.param("inner", {"epochs": -1}, "file: inner: epochs: below 0.", id="class_refuses"),
        pytest.param("many", "ab", "many: found 'ab', expected a list", id="text_for_list"),
        pytest.param("many", [{}, {"epoch": 1}], "file: many[1]: unknown key", id="in_list"),
        pytest.param("table", {"a": 1}, "file: table.a: found 1", id="in_table"),
        pytest.param("table", [], "table: found [], expected a table", id="list_for_mapping"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place(field, value, message):
    with pytest.raises(Refused) as caught:
        outer(**{field: value})
    assert message in str(caught.value)


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(Refused, match=r"inner: unknown key 'epoch'; .*Did you mean 'epochs'\?"):
        outer(inner={"epoch": 3})


def test_a_missing_key_is_named():
    with pytest.raises(Refused, match="file: the key 'name' is missing"):
        parse(Outer, {}, where="file", error=Refused)


@pytest.mark.parametrize("data", [None, [], "text", 3], ids=repr)
def test_what_is_no_table_is_refused(data):
    with pytest.raises(Refused, match="expected a table of keys and values"):
        parse(Outer, data, where="file", error=Refused)


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(Refused) as caught:
        outer(count="x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b'{"a": 1, "b": 2, "a": 3}', "'a' is duplicated", id="duplicate_key"),
        pytest.param(b'{"x": [{"a": 1, "a": 1}]}', "'a' is duplicated", id="duplicate_nested_key"),
        pytest.param(b'{"a": NaN}', "NaN is not", id="nan"),
        pytest.param(b'{"a": -Infinity}', "-Infinity is not", id="infinity"),
        pytest.param(b'{"a": 1e999}', "not valid JSON", id="infinity_by_exponent"),
        pytest.param(b"[" * 90_000, "not valid JSON", id="too_deep"),
        pytest.param(b'{"a": ' + b"9" * 5_000 + b"}", "not valid JSON", id="too_many_digits"),
        pytest.param(b'{"a": "\xff"}', ":1: not UTF-8: byte 0xff at byte 8", id="no_utf8"),
        pytest.param('{"a": 1}'.encode("utf-16"), "found UTF-16, expected", id="utf_16"),
        pytest.param(b'{"a": 1', "not valid JSON", id="cut_short"),
        pytest.param(b"", "not valid JSON", id="empty"),
        pytest.param(b'"' + b"x" * 100_000 + b'"', "100,002 bytes", id="too_large"),
    ],
)
def test_damaged_json_is_refused_by_file(tmp_path, content, message):
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with pytest.raises(Refused, match=r"damaged\.json") as caught:
        read_json(path, limit_bytes=100_000, error=Refused)
    assert message in str(caught.value)


def test_json_of_just_the_limit_is_read(tmp_path):
    path = tmp_path / "good.json"
    path.write_text('{"ö": [1, 2.5, null]}', encoding="utf-8")
    size = path.stat().st_size
    assert read_json(path, limit_bytes=size, error=Refused) == {"ö": [1, 2.5, None]}
