"""Named random streams: the same seed and name give the same numbers, whatever else runs.

Both orderings of a seed ask for the same names, so what they share is shared exactly and every
comparison between them is paired.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def sequence(seed: int, name: str) -> np.random.SeedSequence:
    """The seed sequence of one stream, e.g. ``sequence(3, "align/sampling")``."""
    digest = hashlib.sha256(name.encode()).digest()
    spawn_key = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.SeedSequence(entropy=seed, spawn_key=spawn_key)


def stream(seed: int, name: str) -> np.random.Generator:
    """A generator for one stream."""
    return np.random.Generator(np.random.PCG64DXSM(sequence(seed, name)))


def key(seed: int, name: str) -> npt.NDArray[np.uint32]:
    """Two 32-bit words, the key of a counter-based generator for one stream; shape [2]."""
    return sequence(seed, name).generate_state(2, np.uint32).astype(np.uint32)
