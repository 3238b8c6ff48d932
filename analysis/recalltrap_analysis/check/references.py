"""The references of a study as its check sees them: grid points that share them, read once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import pandas as pd

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap_analysis.check.hits import OF_SUPREMUM
from recalltrap_analysis.estimates.references import REFERENCES
from recalltrap_analysis.runs.design import GridPoint, hashable
from recalltrap_analysis.runs.kind_record import KindRecord, record_of
from recalltrap_analysis.runs.loaded_run import first_line
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.runs.wide_tables import common_values


@dataclass(frozen=True)
class Pair:
    """p' and p'' of S seeds, and the grid points that have these very references.

    `units` are what the run's unit is in reward, seed by seed, and `suprema` the rewards' suprema;
    NaN where they aren't known. `redrawn`: whether p' is another model in another seed.
    """

    points: tuple[tuple[GridPoint, float], ...]
    """With their KL weights."""
    where: str
    seeds: tuple[int, ...]
    prime: tuple[Responses, ...]
    second: tuple[Responses, ...]
    units: tuple[float, ...]
    suprema: tuple[float, ...]
    redrawn: bool

    @property
    def best(self) -> float:
        """The largest reward that any of them gave; the supremum where all are far from it.

        A target that nobody hit is no proof that there is nothing to hit.
        """
        seen = max(float(one.reward_KN.max()) for one in (*self.prime, *self.second))
        supremum = max(self.suprema)
        return supremum if seen < OF_SUPREMUM * supremum else seen

    @property
    def constant(self) -> bool:
        """Whether no sample of any reference was better than another."""
        found = {float(end) for one in (*self.prime, *self.second)
                 for end in (one.reward_KN.min(), one.reward_KN.max())}  # fmt: skip
        return len(found) == 1


def checkable(name: str) -> KindRecord:
    """The record of a kind, which must keep samples of its references.

    Raises:
        InputError: it keeps none, or has no KL weight.
    """
    kind = record_of(name)
    samples = kind.reward_samples
    if samples is None or samples.responses is None or kind.kl_weight is None:
        raise InputError(
            f"studies of kind {name} can't be checked: they keep no samples of their references "
            "with rewards. `recalltrap forecast` says what their metrics promise"
        )
    return kind


def read_pairs(
    cells: Sequence[Cell],
    axes: Sequence[str],
    kind: KindRecord,
    store: ArtifactReader,
    rows: pd.DataFrame,
) -> tuple[list[Pair], str]:
    """The references of these cells by the grid points that share them, and why some are lacking.

    Args:
        cells: Cells whose references stand.
        axes: The grid's axes.
        kind: Of `checkable`.
        store: Holds the references.
        rows: A row per grid point and seed with `point`, `seed`, `unit_size` and `supremum`.
    """
    reader = _Reader(kind, store)
    groups: dict[Hashable, list[tuple[GridPoint, float]]] = {}
    members: dict[Hashable, dict[int, Cell]] = {}
    by_point: dict[GridPoint, dict[int, Cell]] = {}
    for cell in cells:
        point = tuple(hashable(cell.factors[axis]) for axis in axes)
        by_point.setdefault(point, {}).setdefault(cell.seed, cell)
    for point, found in by_point.items():
        shared = tuple((seed, *reader.keys(cell)) for seed, cell in sorted(found.items()))
        assert kind.kl_weight is not None
        beta = float(next(iter(found.values())).factors[kind.kl_weight])
        groups.setdefault(shared, []).append((point, beta))
        members[shared] = dict(sorted(found.items()))
    sizes = {
        (point, seed): (unit, best)
        for point, seed, unit, best in rows[["point", "seed", "unit_size", "supremum"]].itertuples(
            index=False
        )
    }
    pairs = []
    for key, points in groups.items():
        responses = {
            seed: tuple(reader.read(cell, name) for name in REFERENCES)
            for seed, cell in members[key].items()
        }
        if any(one is None for both in responses.values() for one in both):
            continue
        first = points[0][0]
        known = [sizes[first, seed] for seed in responses]
        values = common_values([point for point, _ in points], axes)
        said = [f"{axis} {text}" for axis, text in values.items() if text != "all"]
        pairs.append(
            Pair(
                points=tuple(points),
                where=", ".join(said if len(groups) > 1 else []),
                seeds=tuple(responses),
                prime=tuple(both[0] for both in responses.values() if both[0] is not None),
                second=tuple(both[1] for both in responses.values() if both[1] is not None),
                units=tuple(float(unit) for unit, _ in known),
                suprema=tuple(float(best) for _, best in known),
                redrawn=len({cell.models["p_prime"].id for cell in members[key].values()}) > 1,
            )
        )
    return pairs, reader.problem


class _Reader:
    """Reads each reference once; `problem` is the first reason for having none."""

    def __init__(self, kind: KindRecord, store: ArtifactReader) -> None:
        assert kind.reward_samples is not None
        self._samples = kind.reward_samples
        self._store = store
        self._found: dict[Hashable, Responses | None] = {}
        self.problem = ""

    def keys(self, cell: Cell) -> tuple[Hashable, ...]:
        return tuple(self._samples.key(cell, name) for name in REFERENCES)

    def read(self, cell: Cell, name: str) -> Responses | None:
        assert self._samples.responses is not None
        key = self._samples.key(cell, name)
        if key not in self._found:
            try:
                self._found[key] = self._samples.responses(cell, name, self._store)
            except (InputError, OSError, ValueError, KeyError) as error:
                self.problem = self.problem or first_line(error)
                self._found[key] = None
        return self._found[key]
