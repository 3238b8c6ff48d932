"""The generator: published vectors, moments, independence of everything but key and counter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from recalltrap.streams import key
from recalltrap_studies.mog.program.noise import NOISY_PLANES, PLANES, draw, threefry


def word(value: int) -> torch.Tensor:
    return torch.tensor([value - (1 << 32) if value >= 1 << 31 else value], dtype=torch.int32)


ONES = 0xFFFFFFFF
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)


@pytest.mark.parametrize(
    ("rounds", "counter", "keys", "expected"),
    [
        (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
        (13, (ONES, ONES), (ONES, ONES), (0xFD36D048, 0x2D17272C)),
        (13, PI[:2], PI[2:], (0xBA3E4725, 0xF27D669E)),
        (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        (20, PI[:2], PI[2:], (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers_of_random123(
    rounds: int, counter: tuple[int, int], keys: tuple[int, int], expected: tuple[int, int]
) -> None:
    words = threefry((word(keys[0]), word(keys[1])), (word(counter[0]), word(counter[1])), rounds)
    assert tuple(int(w) & ONES for w in words) == expected


def keys_of(*seeds: int) -> torch.Tensor:
    return torch.tensor(np.stack([key(s, "test") for s in seeds]).view(np.int32))


def noise(seeds: tuple[int, ...], iteration: int, count: int) -> torch.Tensor:
    start = torch.tensor(iteration, dtype=torch.int32)
    return draw(keys_of(*seeds), start, 1, count, PLANES)[0]


def test_distributions() -> None:
    first, second, choice, flip = (t[0].double().numpy() for t in noise((0,), 0, 100_000))
    for uniform in (choice, flip):
        assert stats.kstest(uniform, "uniform").pvalue > 0.01
        assert uniform.min() > 0.0
        assert uniform.max() < 1.0
    for normal in (first, second):
        assert stats.kstest(normal, "norm").pvalue > 0.01
        assert np.isfinite(normal).all()
        for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
            assert abs((normal**power).mean() - moment) < 0.1


def test_streams_are_uncorrelated() -> None:
    count = 50_000
    both = noise((0, 1), 0, count), noise((0, 1), 1, count)
    columns = [plane[row] for drawn in both for plane in drawn for row in (0, 1)]
    correlation = np.corrcoef(torch.stack(columns).double().numpy())
    off = correlation[~np.eye(len(columns), dtype=bool)]
    assert np.abs(off).max() < 4.5 / math.sqrt(count)


def test_a_number_depends_on_key_and_counter_alone() -> None:
    start = torch.tensor(9, dtype=torch.int32)
    wide = draw(keys_of(3, 4, 5), start, 5, 64, PLANES)
    alone = draw(keys_of(4), start + 2, 1, 32, PLANES - 1)
    assert torch.equal(wide[2, :3, 1, :32], alone[0, :, 0])


def test_the_noise_of_rewards_is_a_plane_of_its_own_and_changes_no_other() -> None:
    start, count = torch.tensor(0, dtype=torch.int32), 50_000
    without = draw(keys_of(0), start, 1, count, PLANES)[0, :, 0]
    noisy = draw(keys_of(0), start, 1, count, NOISY_PLANES)[0, :, 0]
    assert torch.equal(noisy[:PLANES], without)
    reward = noisy[PLANES].double()
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert abs(float((reward**power).mean()) - moment) < 0.1
    correlation = np.corrcoef(noisy.double().numpy())[PLANES, :PLANES]
    assert np.abs(correlation).max() < 4.5 / math.sqrt(count)
