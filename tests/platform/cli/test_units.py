"""Amounts in the units that people say them in."""

from __future__ import annotations

import pytest

from recalltrap.cli.units import duration, size


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
        (3.2e9, "37037 days"),
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
