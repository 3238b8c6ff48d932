"""The best of n samples of each reference, at every grid point and seed, from their rewards.

Where the rewards come from is the kind's to say (`KindRecord.reward_samples`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap_analysis.estimates.references import REFERENCES
from recalltrap_analysis.runs.design import hashable
from recalltrap_analysis.runs.kind_record import KindRecord, RewardSamples
from recalltrap_analysis.runs.loaded_run import first_line
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.statistics.best_of_n import BestOfNCurve

NUMBERS = ("best_of_n_reward", "best_of_n_objective", "n")
COLUMNS = [f"{number}_{name}" for number in NUMBERS for name in REFERENCES]


@dataclass(frozen=True)
class BestOfNRows:
    """One row per grid point and seed, or in `lacking` why there is none, or not for all.

    Columns `point`, `seed`, and of p' and p'' (`_p_prime`, `_p_second`) `best_of_n_reward`,
    `best_of_n_objective` and `n`, all at the n with the largest E_n - β·KL_n; NaN where a
    reference's samples can't be read.
    """

    rows: pd.DataFrame
    lacking: str = ""


def best_of_n_rows(
    cells: Sequence[Cell], axes: Sequence[str], kind: KindRecord, store: ArtifactReader
) -> BestOfNRows:
    """The best of n of every grid point and seed of these cells.

    A reference that several cells share is read once. Raises nothing over the store: what can't be
    read is told in `lacking`.
    """
    empty = pd.DataFrame(columns=["point", "seed", *COLUMNS])
    if kind.reward_samples is None or kind.kl_weight is None:
        return BestOfNRows(empty, "this kind of study keeps no rewards of its references' samples")
    curves = Curves(kind.reward_samples, store)
    found: dict[tuple[Any, int], dict[str, Any]] = {}
    for cell in cells:
        key = tuple(hashable(cell.factors[axis]) for axis in axes), cell.seed
        if key in found:
            continue
        record: dict[str, Any] = {"point": key[0], "seed": key[1]}
        for name in REFERENCES:
            record |= _numbers(curves.of(cell, name), name, float(cell.factors[kind.kl_weight]))
        found[key] = record
    rows = pd.DataFrame.from_records(list(found.values()), columns=list(empty.columns))
    return BestOfNRows(rows.astype({"point": object}), curves.problem)


class Curves:
    """The curve over n of each reference; `problem` is the first reason for having none."""

    def __init__(self, samples: RewardSamples, store: ArtifactReader) -> None:
        self._samples = samples
        self._store = store
        self._found: dict[Hashable, BestOfNCurve | None] = {}
        self.problem = ""

    def of(self, cell: Cell, name: str) -> BestOfNCurve | None:
        """The curve of the cell's model of that name; None where it can't be read."""
        try:
            key = self._samples.key(cell, name)
            if key not in self._found:
                self._found[key] = None
                self._found[key] = BestOfNCurve.of(self._samples.read(cell, name, self._store))
        except (InputError, OSError, ValueError, KeyError) as error:
            self.problem = self.problem or first_line(error)
            return None
        return self._found[key]


def _numbers(curve: BestOfNCurve | None, name: str, kl_weight: float) -> dict[str, float]:
    if curve is None:
        return dict.fromkeys((f"{number}_{name}" for number in NUMBERS), np.nan)
    best = curve.best(kl_weight)
    values = (best.reward, best.objective, float(best.n))
    return {f"{number}_{name}": value for number, value in zip(NUMBERS, values, strict=True)}
