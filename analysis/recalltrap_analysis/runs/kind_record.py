"""What the analysis needs to know of one kind of study, in one record per kind.

A kind's package registers its record under the entry point group `recalltrap.analysis`, by the
kind's name. Everything outside `mixture/` and `language/` reads the record and knows no kind.
`report.document.kind_analysis` adds the sections that a kind has of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap.registry import registered
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.responses import Responses

GROUP = "recalltrap.analysis"

Settings = Mapping[str, Any]
"""All settings of a grid point, by name."""


@dataclass(frozen=True)
class OptimumCheck:
    """How far the exact optima can be trusted, of a kind that computes them from samples.

    `metric` is the number that tells, of p' and of p'' in the `metrics` table; tables of estimates
    call it `<column>_p_prime` and `<column>_p_second`, and people `title`.
    """

    metric: str
    column: str
    title: str
    reliability: Callable[[pd.DataFrame], str]
    """Of one grid point's rows, one a seed, with the two columns: empty, or what is wrong."""
    warning: Callable[[pd.DataFrame, Sequence[str]], str]
    """Of a table with `point` and `reliability`, and the axes: one sentence, or nothing."""
    explanation: Callable[[pd.DataFrame], str]
    """Of a forecast's table with the two columns: what they mean."""


@dataclass(frozen=True)
class RewardSamples:
    """Rewards of samples of the references, p' and p'': all that best of n needs.

    All take a cell and the name of one of its models, `p_prime` or `p_second`.
    """

    key: Callable[[Cell, str], Hashable]
    """The same for all cells that have these very rewards in common. Raises an `InputError` where
    there are none."""
    read: Callable[[Cell, str, ArtifactReader], npt.NDArray[np.float64]]
    """Rewards of shape [prompts, samples]. Raises an `InputError` where they can't be read."""
    responses: Callable[[Cell, str, ArtifactReader], Responses] | None = None
    """The same samples with all that a check before the study asks of them; None: it can't be
    checked. Raises an `InputError` where they can't be read."""
    setting: str = ""
    """The setting that says how many there are in all; empty where that is no setting."""
    note: str = ""
    """What to know of these samples; mostly nothing."""


@dataclass(frozen=True)
class KindRecord:
    """One kind's settings by what they are to the shared analyses, and what it says of estimates.

    Whatever a kind has nothing to say of keeps its default.
    """

    reward_supremum: str | None = None
    """The setting that is the reward's supremum, where no metric `reward_supremum` measures it."""
    has_supremum: Callable[[Settings], bool] = lambda settings: True
    """Whether the reward of these settings will have a known supremum, before any cell ran."""
    given_p_prime: Callable[[Settings], bool] = lambda settings: False
    """Whether p' is one given model under these settings, so that seeds are no sample of models."""
    kl_weight: str | None = None
    """The setting that weighs the KL penalty."""
    algorithm: str | None = None
    """The setting that names how to align: a scaling curve is fitted for each of its values."""
    swept: Sequence[str] = ()
    """Settings that a claim is judged over as one grid; nothing is averaged over any other."""
    rate_factors: Sequence[str] = ()
    """Settings that multiply the learning rate of alignments of one size of model."""
    recall_budget: float = 0.5
    """Nats of overall recall that a model may lose against the p' of its seed."""
    named: Sequence[str] = ()
    """Settings that a stratum's label names first, where strata differ in them."""
    metrics_read: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Metrics that the kind's own sections read, and of which models."""
    optimum_check: OptimumCheck | None = None
    reward_samples: RewardSamples | None = None
    optimum_note: Callable[[Settings], str] = lambda settings: ""
    """What to know of the exact optimum under these settings; mostly nothing."""
    scope_notes: Callable[[Settings], Sequence[str]] = lambda settings: ()
    """What limits all that is concluded under these settings, a line each; mostly nothing."""
    curves_note: Callable[[pd.DataFrame], str] = lambda curves: ""
    """What to know of the alignments' curves that a figure shows; mostly nothing."""
    updates: Callable[[Node], int | None] = lambda node: None
    """A stage's updates, where the `costs` table doesn't count them: of earlier versions."""


NO_RECORD = KindRecord()


@cache
def record_of(kind: str) -> KindRecord:
    """The record of a kind; an empty one where its package registers none.

    Raises:
        InputError: it fails to import.
    """
    points = registered(GROUP)
    if kind not in points:
        return NO_RECORD
    try:
        return points[kind].load()  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"the analysis of the kind {kind!r} ({points[kind].value}) can't be imported: {error}. "
            "Reinstall the package that provides it"
        ) from error
