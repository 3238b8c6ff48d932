"""Random numbers without state: Threefry-2x32 (Salmon et al., SC 2011) as tensor operations.

A number is a function of the row's key, the iteration and the index in the batch, so it does not
depend on other rows, on how work is cut into blocks, or on the device. Legend: R rows, N samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDS = 13
"""The fewest rounds that pass BigCrush (Salmon et al., table 2)."""

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA
SECOND = 1 << 30  # added to the index for the second pair of words of a sample
THIRD = -SECOND  # and for the third

PLANES = 4
"""Numbers a sample can have: two normals, the component's uniform, a label's uniform."""
NOISY_PLANES = 5
"""And the normal of its reward's noise."""


class Noise(NamedTuple):
    """What one iteration's samples are made of, each [R, N] float32."""

    first: Tensor  # standard normal
    second: Tensor  # standard normal
    choice: Tensor  # uniform on (0, 1)
    flip: Tensor | None = None  # uniform on (0, 1); where labels may flip
    reward: Tensor | None = None  # standard normal; where rewards are noisy


def threefry(
    key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor], rounds: int = ROUNDS
) -> tuple[Tensor, Tensor]:
    """Two random 32-bit words (int32) for each element of the broadcast key and counter."""
    words = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    a, b = counter[0] + words[0], counter[1] + words[1]
    for i in range(rounds):
        a = a + b
        b = _rotate(b, ROTATIONS[i % 8]) ^ a
        if i % 4 == 3:
            block = i // 4 + 1
            a = a + words[block % 3]
            b = b + words[(block + 1) % 3] + block
    return a, b


def _rotate(word: Tensor, bits: int) -> Tensor:
    """Rotate left; `>>` is arithmetic on int32, hence the mask."""
    return (word << bits) | ((word >> (32 - bits)) & ((1 << bits) - 1))


def to_uniform(word: Tensor) -> Tensor:
    """The 24 high bits as a float32 strictly between 0 and 1."""
    return ((word >> 8) & 0xFFFFFF).float() * 2.0**-24 + 2.0**-25


def draw(key_R2: Tensor, start: Tensor, iterations: int, count: int, planes: int) -> Tensor:
    """The noise of `count` samples a row for some iterations, [iterations, planes, R, count].

    `start` is the first iteration, a scalar int32 tensor. The planes are those of `Noise`, in its
    order; `planes` is 3, 4 or 5.
    """
    device = key_R2.device
    key = (key_R2[:, 0:1], key_R2[:, 1:2])
    index = torch.arange(count, dtype=torch.int32, device=device)
    iteration = start + torch.arange(iterations, dtype=torch.int32, device=device)[:, None, None]
    word_a, word_b = threefry(key, (index, iteration))
    word_c, word_d = threefry(key, (index + SECOND, iteration))
    # Box-Muller
    radius = torch.sqrt(-2.0 * torch.log(to_uniform(word_a)))
    angle = to_uniform(word_b) * (2.0 * math.pi)
    values = [radius * torch.cos(angle), radius * torch.sin(angle), to_uniform(word_c)]
    if planes >= PLANES:
        values.append(to_uniform(word_d))
    if planes == NOISY_PLANES:
        word_e, word_f = threefry(key, (index + THIRD, iteration))
        radius = torch.sqrt(-2.0 * torch.log(to_uniform(word_e)))
        values.append(radius * torch.cos(to_uniform(word_f) * (2.0 * math.pi)))
    return torch.stack(values, 1)
