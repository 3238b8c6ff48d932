"""Gauss-Legendre rules nested in Kronrod's extensions of them (QUADPACK, Piessens et al. 1983).

The extension is the value and the rule inside it the check: two orders for the price of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recalltrap_studies.mog.models import Array


class Rule(NamedTuple):
    """Places on (-1, 1) and the weights of both orders there, each [N]."""

    places: Array
    low: Array
    high: Array


def _symmetric(places: list[float], high: list[float], gauss: list[float]) -> Rule:
    """From the half with negative places, the middle last; every second place is Gauss's."""
    low = np.zeros(len(places))
    low[1::2] = gauss
    half = (-np.array(places), low, np.array(high))
    odd = (places, low, high)
    return Rule(*(np.append(h, np.asarray(o)[-2::-1]) for h, o in zip(half, odd, strict=True)))


SEVEN_FIFTEEN = _symmetric(
    [
        0.991455371120812639206854697526329,
        0.949107912342758524526189684047851,
        0.864864423359769072789712788640926,
        0.741531185599394439863864773280788,
        0.586087235467691130294144691258380,
        0.405845151377397166906606412076961,
        0.207784955007898467600689403773245,
        0.0,
    ],
    [
        0.022935322010529224963732008058970,
        0.063092092629978553290700663189204,
        0.104790010322250183839876322541518,
        0.140653259715525918745189590510238,
        0.169004726639267902826583426598550,
        0.190350578064785409913256402421014,
        0.204432940075298892414161999234649,
        0.209482141084727828012999174891714,
    ],
    [
        0.129484966168869693270611432679082,
        0.279705391489276667901467771423780,
        0.381830050505118944950369775488975,
        0.417959183673469387755102040816327,
    ],
)
