"""What distillations minimise, as functions of log densities at nodes or samples.

A divergence of the student pi is given with its functional derivative h = dD / dpi (up to a
constant, which changes no gradient): `nodes.path_gradient` makes the gradient of h and of its slope
along x and y. Legend: R rows, M nodes; every log density is [R, M].
"""

from __future__ import annotations

import torch
from torch import Tensor

Slope = tuple[Tensor, Tensor]
"""d / dx and d / dy, each [R, M]."""


def log_mixture(log_teacher: Tensor, log_student: Tensor, mix: Tensor) -> Tensor:
    """log M of M = mix T + (1 - mix) pi; `mix` [R, 1] in [0, 1]."""
    return torch.logaddexp(torch.log(mix) + log_teacher, torch.log1p(-mix) + log_student)


def jensen_shannon(
    at_teacher: tuple[Tensor, Tensor], at_student: tuple[Tensor, Tensor], mix: Tensor
) -> tuple[Tensor, Tensor]:
    """The integrands of the generalised Jensen-Shannon divergence of Agarwal et al. 2024 (GKD).

    JSD = mix KL(T || M) + (1 - mix) KL(pi || M) with M = mix T + (1 - mix) pi; at 0 the forward
    KL(T || pi) and at 1 the reverse KL(pi || T) in its place, as TRL's GKD has them (JSD / mix and
    JSD / (1 - mix) tend to them).

    Args:
        at_teacher: log T and log pi at the teacher's nodes.
        at_student: log T and log pi at the student's nodes.
        mix: The setting `jsd_mix`, [R, 1].

    Returns:
        What to average under the teacher and under the student; their sum is the divergence.
    """
    inner = _inner(mix)
    under_teacher = mix * (at_teacher[0] - log_mixture(*at_teacher, inner))
    under_student = (1.0 - mix) * (at_student[1] - log_mixture(*at_student, inner))
    forward, reverse = at_teacher[0] - at_teacher[1], at_student[1] - at_student[0]
    under_teacher = torch.where(mix == 0.0, forward, under_teacher)
    under_teacher = torch.where(mix == 1.0, 0.0, under_teacher)
    under_student = torch.where(mix == 1.0, reverse, under_student)
    return under_teacher, torch.where(mix == 0.0, 0.0, under_student)


def jensen_shannon_derivative(
    log_teacher: Tensor, log_student: Tensor, slopes: tuple[Slope, Slope], mix: Tensor
) -> tuple[Tensor, Slope]:
    """dJSD / dpi = (1 - mix) log(pi / M) at the student's nodes, and its slope; `mix` > 0.

    At 1 that of the reverse KL(pi || T), log(pi / T). `slopes` are those of log T and of log pi.
    """
    inner = _inner(mix)
    to_mixture = log_student - log_mixture(log_teacher, log_student, inner)
    ends = mix == 1.0
    value = torch.where(ends, log_student - log_teacher, (1.0 - mix) * to_mixture)
    # the student's share of M is (1 - mix) pi / M; the teacher's share is what moves log(pi / M)
    others = torch.where(ends, 1.0, (1.0 - mix) * (1.0 - (1.0 - inner) * torch.exp(to_mixture)))
    teachers, students = slopes
    return value, (others * (students[0] - teachers[0]), others * (students[1] - teachers[1]))


def _inner(mix: Tensor) -> Tensor:
    """A weight strictly between 0 and 1, where the logarithms of both sides are finite."""
    return torch.where((mix > 0.0) & (mix < 1.0), mix, 0.5)
