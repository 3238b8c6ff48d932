"""How a study is to be judged: its contrasts and its primary endpoint; no cell depends on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from recalltrap.errors import nearest, shown
from recalltrap.study.python_values import plain_value

TRENDS = ("mean", "slope")


def contrast_pair(value: Any) -> Any:
    """A pair of different orderings' names.

    Raises:
        ValueError: anything else.
    """
    value = plain_value(value)
    pair = isinstance(value, list | tuple) and len(value) == 2
    if not pair or not all(isinstance(name, str) for name in value):
        raise ValueError(f"a contrast is two orderings, e.g. [A-K, K-A], not {shown(value)}")
    if value[0] == value[1]:
        raise ValueError(f"{shown(value[0])} is compared with itself: name two orderings")
    return tuple(value)


def contrast_list(value: Any) -> Any:
    """A list as the tuple that pydantic's strict mode wants.

    Raises:
        ValueError: it is empty.
    """
    value = plain_value(value)
    if not isinstance(value, list | tuple):
        return value
    if not value:
        raise ValueError("no contrasts: list pairs of orderings, or leave the field out")
    return tuple(value)


def check_orderings(contrast: Sequence[str], orderings: Sequence[str]) -> None:
    """Refuse a contrast of what the study doesn't run.

    Raises:
        ValueError: naming the nearest ordering of the study.
    """
    for name in contrast:
        if name not in orderings:
            raise ValueError(f"the study has no ordering {shown(name)}; {nearest(name, orderings)}")


def _at(value: Any) -> Any:
    value = plain_value(value)
    if isinstance(value, str) and value in TRENDS:
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"{shown(value)} is refused: give mean (over the grid's KL weights), slope (per "
            "doubling of the KL weight), or one of the study's KL weights"
        )
    return float(value)


Contrast = Annotated[tuple[str, str], BeforeValidator(contrast_pair)]


class Primary(BaseModel):
    """The one comparison that a study is run to decide, in each stratum of its grid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contrast: Contrast = Field(description="two of the study's orderings: first minus second")
    at: Annotated[Literal["mean", "slope"] | float, BeforeValidator(_at)] = Field(
        default="mean",
        description="mean over the grid's KL weights, slope per doubling of the KL weight, or one "
        "KL weight",
    )
