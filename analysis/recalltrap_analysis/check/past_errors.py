"""How wrong this forecast was before, for this kind and algorithm, by KL weight.

From finished studies in the storage that ran K-A@p'; where it has none, from those whose errors are
shipped (`past_errors.json`, made by `tests/benchmarks/forecast_errors.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from recalltrap.errors import InputError
from recalltrap_analysis.estimates.attainment import reward_unit
from recalltrap_analysis.estimates.order_effect import ANCHORED_TO_P_PRIME, KD_THEN_ALIGN
from recalltrap_analysis.estimates.references import reference_rows
from recalltrap_analysis.forecast.errors import scored_rows
from recalltrap_analysis.number_format import decimal_text, setting_text
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.protocol import Run
from recalltrap_analysis.runs.wide_tables import cell_outcomes

SHIPPED = "past_errors.json"
MOST_RUNS = 3
"""Of a storage, those nearest to the study first: each takes a second or so to read."""
SHOWN = 5


@dataclass(frozen=True)
class PastError:
    """The error of the forecast anchor part at one KL weight: forecast minus measured, per seed.

    `pairs` counts grid points and seeds; `studies` are where they come from.
    """

    kind: str
    algorithm: str
    unit: str
    kl_weight: float
    pairs: int
    mean_absolute_error: float
    bias: float
    studies: tuple[str, ...]


@dataclass(frozen=True)
class PastErrors:
    """The errors that apply to a study, by KL weight; `here`: from its own storage."""

    errors: tuple[PastError, ...]
    here: bool

    def line(self) -> str:
        """In one sentence."""
        tail = "The interval is over prompts, seeds and samples, not over that error."
        if not self.errors:
            return (
                "How wrong such a forecast is was not measured yet for this kind and algorithm. "
                + tail.replace("that error", "the error of the forecast itself")
            )
        place = "in this storage" if self.here else "shipped with recalltrap"
        studies = sorted({name for one in self.errors for name in one.studies})
        chosen = np.linspace(0, len(self.errors) - 1, min(SHOWN, len(self.errors)))
        few = [self.errors[round(i)] for i in chosen]
        said = ", ".join(
            f"{decimal_text(one.mean_absolute_error)} at {setting_text(one.kl_weight)}"
            for one in few
        )
        first = self.errors[0]
        return (
            f"Such a forecast was off by {said} in {first.unit} (mean absolute error by KL weight, "
            f"{first.algorithm}, {', '.join(studies)}, {place}). {tail}"
        )


def past_errors(
    kind: str,
    algorithms: Sequence[str],
    unit: str,
    kl_weights: Sequence[float],
    runs: Iterable[Run],
) -> PastErrors:
    """The errors at a study's KL weights, of the algorithm that it uses first; at those nearest to
    them where none is the same.

    Args:
        kind: The study's.
        algorithms: That it uses.
        unit: Of its anchor part; errors in another say nothing.
        kl_weights: Its own.
        runs: Of its storage, those nearest to it first.
    """
    found = errors_of(_first(runs, MOST_RUNS))
    for here, errors in ((True, found), (False, shipped())):
        fitting = [
            one
            for one in errors
            if one.kind == kind and one.unit == unit and one.algorithm in algorithms[:1]
        ]
        if fitting:
            nearest = {
                min(fitting, key=lambda one: abs(np.log(one.kl_weight / weight)))
                for weight in kl_weights
            }
            return PastErrors(tuple(sorted(nearest, key=lambda one: one.kl_weight)), here)
    return PastErrors((), here=True)


def _first(runs: Iterable[Run], most: int) -> list[Run]:
    """The first runs that measured an anchor part."""
    found = []
    for run in runs:
        try:
            names = {ordering.name for ordering in run.study.orderings}
        except InputError:
            continue
        if {ANCHORED_TO_P_PRIME, KD_THEN_ALIGN} <= names:
            found.append(run)
        if len(found) == most:
            break
    return found


def errors_of(runs: Iterable[Run]) -> list[PastError]:
    """The errors of these runs' forecasts, by kind, algorithm, unit and KL weight; runs that can't
    be read are left out."""
    errors: dict[tuple[str, str, str, float], list[float]] = {}
    studies: dict[tuple[str, str, str, float], dict[str, None]] = {}
    for run in runs:
        try:
            for key, error in _errors(run):
                errors.setdefault(key, []).append(error)
                studies.setdefault(key, {})[run.study.name] = None
        except (InputError, OSError, KeyError, ValueError):
            continue
    return [
        PastError(
            kind=kind,
            algorithm=algorithm,
            unit=unit,
            kl_weight=weight,
            pairs=len(values),
            mean_absolute_error=float(np.abs(values).mean()),
            bias=float(np.mean(values)),
            studies=tuple(studies[kind, algorithm, unit, weight]),
        )
        for (kind, algorithm, unit, weight), values in sorted(errors.items())
    ]


def _errors(run: Run) -> Iterable[tuple[tuple[str, str, str, float], float]]:
    """Every grid point's and seed's error with what it is of."""
    kind = run.study.kind
    record = record_of(kind)
    if record.algorithm is None or record.kl_weight is None:
        return
    factors = [record.algorithm, record.kl_weight]
    axes = [*run.axes, *(name for name in factors if name not in run.axes)]
    outcomes = cell_outcomes(run.table("metrics"), axes, record.reward_supremum)
    unit = reward_unit(outcomes)
    rows = scored_rows(reference_rows(outcomes, axes, record.optimum_check), outcomes, axes)
    error_N = (rows["anchor_part"] - rows["measured_anchor_part"]).to_numpy(dtype=float)
    places = [axes.index(name) for name in factors]
    for point, error in zip(rows["point"], error_N, strict=True):
        algorithm, weight = (point[place] for place in places)
        if np.isfinite(error):
            yield (kind, str(algorithm), unit, float(weight)), float(error)


def shipped() -> list[PastError]:
    """The errors that come with this package."""
    text = files("recalltrap_analysis.check").joinpath(SHIPPED).read_text()
    found: list[Mapping[str, Any]] = json.loads(text)["errors"]
    return [PastError(**{**one, "studies": tuple(one["studies"])}) for one in found]


def written(errors: Sequence[PastError], command: str, date: str) -> str:
    """The file that `shipped` reads."""
    rounded = [
        {**asdict(one), "mean_absolute_error": round(one.mean_absolute_error, 4),
         "bias": round(one.bias, 4)}
        for one in errors
    ]  # fmt: skip
    rows = ",\n  ".join(json.dumps(one) for one in rounded)
    return f'{{"command": {json.dumps(command)}, "date": "{date}", "errors": [\n  {rows}\n]}}\n'
