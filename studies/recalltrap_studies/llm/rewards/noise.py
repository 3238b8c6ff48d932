"""Noise on the rewards that are learned from: a judge that errs, by a named random stream."""

from __future__ import annotations

import torch
from torch import Tensor

from recalltrap.streams import stream


def reward_noise(seed: int, name: str, rows: int, deviation: float) -> Tensor | None:
    """What is added to each of so many rewards [rows], float32; None where there is no noise.

    A larger deviation adds more of the same.
    """
    if deviation == 0:
        return None
    draws = stream(seed, f"{name}/noise").standard_normal(rows)
    return torch.from_numpy(deviation * draws).float()
