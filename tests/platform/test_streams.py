from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.streams import key, stream

NAMES = st.text(max_size=20)
SEEDS = st.integers(0, 2**63)


@given(SEEDS, NAMES)
def test_the_same_seed_and_name_give_the_same_numbers(seed: int, name: str) -> None:
    assert np.array_equal(stream(seed, name).normal(size=8), stream(seed, name).normal(size=8))
    assert np.array_equal(key(seed, name), key(seed, name))


@given(SEEDS, NAMES, SEEDS, NAMES)
def test_another_seed_or_name_gives_other_numbers(
    seed: int, name: str, other_seed: int, other_name: str
) -> None:
    if (seed, name) != (other_seed, other_name):
        one, other = stream(seed, name), stream(other_seed, other_name)
        assert not np.array_equal(one.integers(2**62, size=4), other.integers(2**62, size=4))
        assert not np.array_equal(key(seed, name), key(other_seed, other_name))


def test_streams_are_uncorrelated() -> None:
    """Neighbouring seeds and names: every correlation of 4,000 draws stays below 5 sigma."""
    count = 4000
    rows = [
        stream(seed, name).normal(size=count)
        for seed in range(6)
        for name in ("sft", "align", "align/0", "align/1")
    ]
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 5 / np.sqrt(count)


def test_drawing_from_one_stream_leaves_the_others_alone() -> None:
    before = stream(1, "b").normal(size=4)
    stream(1, "a").normal(size=1000)
    assert np.array_equal(before, stream(1, "b").normal(size=4))


def test_the_numbers_never_change() -> None:
    """Golden: a change here changes every study."""
    assert stream(3, "align/sampling").integers(0, 1000, size=4).tolist() == [341, 911, 778, 204]
    assert key(3, "align/sampling").tolist() == [1735810993, 1907467394]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        stream(-1, "x")
