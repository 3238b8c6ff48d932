from __future__ import annotations

import json
import math
import operator
import pickle
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.identity import ID_LENGTH, Config, canonical_json, fingerprint

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


def _reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reordered(value[key]) for key in reversed(list(value))}
    return [_reordered(item) for item in value] if isinstance(value, list) else value


@pytest.mark.slow
@given(VALUES)
def test_canonical_json_is_json_and_returns_the_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(VALUES)
def test_the_order_of_keys_does_not_count(value: Any) -> None:
    assert canonical_json(_reordered(value)) == canonical_json(value)


@pytest.mark.slow
@given(VALUES, VALUES)
def test_equal_bytes_mean_equal_values(one: Any, other: Any) -> None:
    if canonical_json(one) == canonical_json(other):
        assert one == other


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_every_bit(value: float) -> None:
    assert math.copysign(1.0, json.loads(canonical_json(value))) == math.copysign(1.0, value)
    assert json.loads(canonical_json(value)) == value


def test_types_are_told_apart() -> None:
    spellings = [1, 1.0, True, "1", [1], None, "", 0, False, -0.0, 0.0]
    assert len({canonical_json(value) for value in spellings}) == len(spellings)


def test_a_tuple_is_a_list() -> None:
    assert fingerprint({"a": (1, 2)}) == fingerprint({"a": [1, 2]})


def test_the_bytes_never_change() -> None:
    """Golden: stored artifacts are found again by these."""
    value = {"b": 0.1, "a": [1, 1.0, None, True, "p′"]}
    assert canonical_json(value) == '{"a":[1,1.0,null,true,"p′"],"b":0.1}'.encode()
    assert fingerprint(value) == "d9585d8a30414e59ba16"
    assert len(fingerprint(value)) == ID_LENGTH


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        b"bytes",
        bytearray(b"x"),
        Path("a"),
        date(2025, 1, 1),
        np.float64,
        np.int64(3),
        np.arange(3),
        1j,
        {1: "a"},
        {"a": [{"b": {3}}]},
        lambda: None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_a_stable_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused_with_its_place(value: float) -> None:
    with pytest.raises(ValueError, match=r"value\.a\[1\]"):
        canonical_json({"a": [0.0, value]})


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(TypeError, match=r"value\.settings\.path is a PosixPath"):
        canonical_json({"settings": {"path": Path("/tmp")}})


def _shared(value: Any, random: Random) -> Any:
    """The same value with some of its objects as shared configurations."""
    if isinstance(value, list):
        return [_shared(item, random) for item in value]
    if isinstance(value, dict):
        inner = {key: _shared(item, random) for key, item in value.items()}
        return Config(inner) if random.random() < 0.5 else inner
    return value


class TestConfig:
    @pytest.mark.slow
    @given(VALUES, st.randoms(use_true_random=False))
    def test_it_is_spelled_as_the_object_that_it_is(self, value: Any, random: Random) -> None:
        assert canonical_json(_shared(value, random)) == canonical_json(value)

    def test_it_leaves_an_entry_out_and_stays_as_it_is(self) -> None:
        config = Config(rate=0.1, iterations=10)
        assert config.without("iterations") == {"rate": 0.1}
        assert config.without("iterations") is config.without("iterations")
        assert config.without(None) is config
        assert config == {"rate": 0.1, "iterations": 10}

    def test_it_never_changes(self) -> None:
        config = Config(rate=0.1)
        changes: list[Callable[[], object]] = [
            lambda: config.update(rate=1.0),
            lambda: config.pop("rate"),
            lambda: config.setdefault("other", 1),
            lambda: operator.setitem(config, "rate", 1.0),
            lambda: operator.delitem(config, "rate"),
            lambda: config.__ior__({"rate": 1.0}),
            config.clear,
            config.popitem,
        ]
        for change in changes:
            with pytest.raises(TypeError, match="never changes"):
                change()
        assert config == {"rate": 0.1}

    def test_it_travels_to_workers(self) -> None:
        config = Config(rate=0.1)
        assert config.spelled == '{"rate":0.1}'
        one, other = pickle.loads(pickle.dumps([config, config]))
        assert one is other
        assert type(one) is Config
        assert one == config

    @pytest.mark.parametrize("value", [{"config": Config(), 1: 2}, [Config(), {1: 2}]])
    def test_what_has_no_stable_form_is_refused_beside_it(self, value: Any) -> None:
        with pytest.raises(TypeError, match="not a string"):
            canonical_json(value)
