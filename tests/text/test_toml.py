"""TOML is written as tomllib reads it."""

from __future__ import annotations

import tomllib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.text.errors import ConvcostError
from convcost.text.toml import value_text

VALUES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_is_read_as_it_was(value: object) -> None:
    read = tomllib.loads(f"key = {value_text(value)}\n")["key"]
    assert (read, type(read)) == (value, type(value))


def test_a_tuple_becomes_a_list_and_nan_is_one_word() -> None:
    assert value_text((1, (2, "x"))) == '[1, [2, "x"]]'
    assert value_text([float("nan"), float("-inf")]) == "[nan, -inf]"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "None"), ({1: 2}, "{1: 2}"), ([1, None], "None"), ({"a": {1, 2}}, "{1, 2}"), (Decimal(1), "Decimal('1')")],
)
def test_what_toml_has_no_form_for_is_refused(value: object, shown: str) -> None:
    with pytest.raises(ConvcostError) as refused:
        value_text(value)
    said = f"(={shown}) must have a form in TOML; leave it out, or wrap the target in a function."
    assert str(refused.value) == said
