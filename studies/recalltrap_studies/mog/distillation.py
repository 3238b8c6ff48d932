"""How a student is distilled: the record of the one way there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recalltrap_studies.mog.algorithm import Algorithm, Column
from recalltrap_studies.mog.stage_settings import Distill
from recalltrap_studies.records import LateImport

if TYPE_CHECKING:
    from torch import Tensor


def _sharpened(teacher: Tensor, column: Column) -> Tensor:
    """The teacher with its weights to the power beta_KD (eq. 7), parameters [R, P, K]."""
    from recalltrap_studies.mog.program.mixture import sharpen

    return sharpen(teacher, column("teacher_sharpness"))


SHARPENED_SAMPLES = Algorithm(
    name="sharpened_samples",
    settings=Distill,
    version=1,
    iteration=LateImport("recalltrap_studies.mog.program.maximum_likelihood:iteration"),
    measures=("loss",),
    prepare_source=_sharpened,
)
"""Maximum likelihood on fresh samples of the sharpened teacher."""
