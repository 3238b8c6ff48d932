"""Amounts in the units that people say them in."""

from __future__ import annotations

import pytest

from recalltrap.units import duration, hours, operations, size


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (2.74, "2.7 seconds"),
        (119, "119 seconds"),
        (600, "10 minutes"),
        (9_000, "2.5 hours"),
        (100_000, "28 hours"),
        (756_471, "8.8 days"),
        (3.2e9, "37,037 days"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (512, "512 bytes"), (4_200_000, "4.2 MB"), (3.29e11, "329 GB"),
     (5e13, "50 TB")],
)  # fmt: skip
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said


@pytest.mark.parametrize(
    ("flops", "said"),
    [(0, "0 FLOP"), (999, "999 FLOP"), (4.24e12, "4.2 teraFLOP"), (1.3e18, "1.3 exaFLOP"),
     (2.5e22, "25 zettaFLOP")],
)  # fmt: skip
def test_operations(flops: float, said: str) -> None:
    assert operations(flops) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0"), (0.1, "less than 0.001"), (900, "0.25"), (36_000, "10"), (4.68e6, "1,300")],
)
def test_hours(seconds: float, said: str) -> None:
    assert hours(seconds) == said
