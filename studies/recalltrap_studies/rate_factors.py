"""What an alignment's learning rate is multiplied by, for the large p' and for the small student.

One rate serves both sizes, and the best one need not be the same: orderings are compared fairly
where each has been run at a rate that suits the model that it aligns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from recalltrap.orderings import Operations
from recalltrap.settings_parts import Part, added_setting

Factor = Annotated[float, Field(ge=1e-3, le=1e3, allow_inf_nan=False)]


class PPrimeRate(Part):
    """Of alignments of p'."""

    p_prime_rate_factor: Factor = added_setting(
        1.0,
        description="Factor of the learning rate of alignments of p', such as A-K's (ours).",
    )


class StudentRate(Part):
    """Of alignments of a student."""

    student_rate_factor: Factor = added_setting(
        1.0,
        description="Factor of the learning rate of alignments of a student, such as K-A's (ours).",
    )


class RateFactors(PPrimeRate, StudentRate):
    """One factor for each size.

    They aren't an alignment's own: its configuration holds the rate that it uses, so that settings
    that mean the same make the same artifact.
    """

    def alignment_rate(self, rate: float, student: bool) -> float:
        """The learning rate of an alignment of a student, or of p'."""
        return rate * (self.student_rate_factor if student else self.p_prime_rate_factor)

    def check_rates(self, name: str, rate: float) -> None:
        """Refuse a factor that makes a learning rate of more than 1.

        Raises:
            ValueError: names the factor and `name`, the setting of the rate.
        """
        for factor, value in ((field, getattr(self, field)) for field in RateFactors.model_fields):
            if rate * value > 1:
                raise ValueError(
                    f"{name} {rate:g} times {factor} {value:g} is {rate * value:g}, and a learning "
                    f"rate is at most 1: lower {factor}"
                )


def factors_read(operations: Operations) -> list[type[Part]]:
    """Whose factors alignments read in these orderings."""
    found: list[type[Part]] = []
    if operations.aligns_p_prime:
        found.append(PPrimeRate)
    if operations.aligns_student:
        found.append(StudentRate)
    return found


FACTORS_UNREAD: Mapping[type[Part], str] = {
    PPrimeRate: "no ordering of the study aligns p': nothing reads",
    StudentRate: "no ordering of the study aligns a student: nothing reads",
}
"""Why a factor isn't read; goes on with its name."""
