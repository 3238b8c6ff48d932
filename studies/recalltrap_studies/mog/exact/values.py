"""What every expectation here says of itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recalltrap_studies.mog.models import Array, Model

TOLERANCE = 1e-5
"""Two orders of a quadrature agree to this; its parts aim lower, so that their sum does."""


class Expectation(NamedTuple):
    """A value, by how much two orders of its quadrature differ, and how many nodes it took.

    Where there is a closed form, the error is 0 and the nodes are 0.
    """

    value: float
    error: float
    nodes: int

    @property
    def method(self) -> str:
        """`closed form` or `quadrature`."""
        return "quadrature" if self.nodes else "closed form"


class Integrals(NamedTuple):
    """Values, the summed differences of two orders, and the numbers of nodes, each [N]."""

    value: Array
    error: Array
    nodes: Array


def weights(model: Model) -> Array:
    """The weights of a mixture's components, [J]."""
    return np.exp(model.log_weights)


def weighted(weight_J: Array, parts: Integrals) -> Expectation:
    """The expectation under a mixture, from those under its components."""
    value, error = (float((weight_J * part).sum()) for part in (parts.value, parts.error))
    return Expectation(value, error, int(parts.nodes.sum()))
