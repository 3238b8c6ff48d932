"""What distillations minimise: gradients, limits, hand-computed cases and fixed points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from recalltrap_studies.mog.distillation.adpa import advantage
from recalltrap_studies.mog.distillation.divergences import jensen_shannon
from recalltrap_studies.mog.distillation.logits import forward_kl
from recalltrap_studies.mog.distillation.on_policy import on_policy_loss
from recalltrap_studies.mog.exact.expectations import log_density
from recalltrap_studies.mog.program.mixture import density, score, terms
from recalltrap_studies.mog.program.nodes import mean_over, nodes_of, path_gradient
from recalltrap_studies.mog.reference_distance import kl
from recalltrap_studies.mog.rows import to_model

MIXES = (0.0, 1e-3, 0.1, 0.5, 0.9, 1.0)


def mixture(*components: tuple[float, float, float, float], parameters: int = 5) -> Tensor:
    """Components of (weight, mean x, mean y, standard deviation), [1, P, K] in float64."""
    weight, x, y, sd = torch.tensor(components, dtype=torch.float64).T
    columns = [weight.log(), x, y, sd.log(), sd.log()]
    if parameters == 6:
        columns.append(0.3 * sd)
    return torch.stack(columns)[None]


TEACHER = mixture((0.7, 0.0, 0.0, 0.5), (0.3, 1.0, 0.4, 0.4))
STUDENT = mixture((0.5, 0.2, -0.3, 0.6), (0.3, 0.8, 0.9, 0.5), (0.2, -0.4, 0.1, 0.7))


def column(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def finite_differences(loss: object, params: Tensor, step: float = 1e-4) -> Tensor:
    assert callable(loss)
    gradient = torch.zeros_like(params)
    for p in range(params.shape[1]):
        for k in range(params.shape[2]):
            ends = []
            for sign in (1, -1):
                moved = params.clone()
                moved[0, p, k] += sign * step
                ends.append(float(loss(moved)[0]))
            gradient[0, p, k] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def test_the_gradient_of_the_forward_kl_is_its_derivative() -> None:
    _, gradient = forward_kl(terms(STUDENT), TEACHER)
    expected = finite_differences(lambda params: forward_kl(terms(params), TEACHER)[0], STUDENT)
    torch.testing.assert_close(gradient, expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("parameters", [5, 6])
def test_the_gradient_of_the_divergence_is_its_derivative(mix: float, parameters: int) -> None:
    """To the quadrature's error: one goes through the functional derivative, one through a sum."""
    student = mixture((0.6, 0.2, -0.3, 0.6), (0.4, 0.8, 0.9, 0.5), parameters=parameters)
    _, gradient = on_policy_loss(student, TEACHER, column(mix))
    expected = finite_differences(
        lambda params: on_policy_loss(params, TEACHER, column(mix))[0], student
    )
    # of a divergence that is about as large as the smaller of both shares
    scale = {0.0: 1.0, 1.0: 1.0}.get(mix, min(mix, 1 - mix))
    torch.testing.assert_close(gradient, expected, atol=4e-3 * scale, rtol=0.02)


def test_the_ends_are_the_forward_and_the_reverse_kl() -> None:
    teacher, student = (to_model(params[0].numpy()) for params in (TEACHER, STUDENT))
    forward, reverse = kl(teacher, student), kl(student, teacher)
    assert abs(forward - reverse) > 0.05, "the pair tells the directions apart"
    got = {mix: float(on_policy_loss(STUDENT, TEACHER, column(mix))[0]) for mix in MIXES}
    assert got[0.0] == pytest.approx(forward, abs=1e-3)
    assert got[1.0] == pytest.approx(reverse, abs=1e-3)
    near = 1e-4
    loss = {
        mix: float(on_policy_loss(STUDENT, TEACHER, column(mix))[0]) for mix in (near, 1 - near)
    }
    assert loss[near] / near == pytest.approx(forward, rel=0.01)
    assert loss[1 - near] / near == pytest.approx(reverse, rel=0.01)


def test_at_mix_zero_it_is_the_distillation_of_logits() -> None:
    loss, gradient = on_policy_loss(STUDENT, TEACHER, column(0.0))
    expected_loss, expected = forward_kl(terms(STUDENT), TEACHER)
    torch.testing.assert_close(loss, expected_loss, rtol=0, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


@pytest.mark.parametrize("mix", MIXES)
def test_the_teacher_itself_is_at_the_minimum(mix: float) -> None:
    loss, gradient = on_policy_loss(TEACHER, TEACHER, column(mix))
    assert float(loss.abs().max()) < 1e-12
    assert float(gradient.abs().max()) < 1e-3  # the quadrature's error


def test_the_divergence_of_two_points_by_hand() -> None:
    """Categorical: T = (3/4, 1/4), pi = (1/4, 3/4), a quarter of the teacher in M."""
    t, p, mix = torch.tensor([0.75, 0.25]), torch.tensor([0.25, 0.75]), torch.tensor(0.25)
    m = [0.25 * 0.75 + 0.75 * 0.25, 0.25 * 0.25 + 0.75 * 0.75]
    by_hand = 0.25 * (0.75 * math.log(0.75 / m[0]) + 0.25 * math.log(0.25 / m[1]))
    by_hand += 0.75 * (0.25 * math.log(0.25 / m[0]) + 0.75 * math.log(0.75 / m[1]))
    places = (t.log(), p.log())
    under_teacher, under_student = jensen_shannon(places, places, mix)
    assert float((t * under_teacher).sum() + (p * under_student).sum()) == pytest.approx(by_hand)


def test_one_component_matches_the_moments_of_its_teacher() -> None:
    """The optimum of the forward KL in closed form."""
    mean = torch.tensor([0.3 * 1.0, 0.3 * 0.4]).double()
    second = torch.tensor([0.7 * 0.25 + 0.3 * (0.16 + 1.0), 0.7 * 0.25 + 0.3 * (0.16 + 0.16)])
    sd = (second.double() - mean**2).sqrt()
    matched = torch.stack([torch.zeros(1).double(), *mean[:, None], *sd.log()[:, None]])[None]
    _, gradient = forward_kl(terms(matched), TEACHER)
    assert float(gradient.abs().max()) < 1e-4
    _, elsewhere = forward_kl(terms(matched + 0.1), TEACHER)
    assert float(elsewhere.abs().max()) > 0.05


GAMMA, M = 0.3, 1.0


def test_one_component_ends_where_the_advantage_and_the_samples_balance() -> None:
    """ADPA in closed form: y+ from N(0, I), aligned N(m, I), so A = m x - m^2 / 2.

    With s the student's variance along x: mean = gamma m s and s = 1 + (gamma m s)^2, which has a
    solution where 2 gamma m <= 1 and none beyond: the advantage has no bound.
    """
    variance = (1 - math.sqrt(1 - 4 * (GAMMA * M) ** 2)) / (2 * (GAMMA * M) ** 2)
    student = mixture((1.0, GAMMA * M * variance, 0.0, 1.0))
    student[0, 3] = 0.5 * math.log(variance)
    assert float(adpa_gradient(student, GAMMA).abs().max()) < 1e-4
    assert float(adpa_gradient(student, 1.2 * GAMMA).abs().max()) > 0.03
    for mean in (0.0, 1.0, 5.0, 25.0):  # beyond: the loss falls along the best variance
        beyond = mixture((1.0, mean, 0.0, 1.0))
        beyond[0, 3] = 0.5 * math.log(1 + mean**2)
        assert float(adpa_gradient(beyond, 0.6)[0, 1, 0]) < 0


def adpa_gradient(student: Tensor, gamma: float) -> Tensor:
    """The expected gradient of ADPA's loss, with y+ at the nodes of N(0, I)."""
    reference, aligned = mixture((1.0, 0.0, 0.0, 1.0)), mixture((1.0, M, 0.0, 1.0))
    samples, own, t = nodes_of(reference), nodes_of(student), terms(student)
    sft = score(t, density(t, samples.x, samples.y), -samples.weight)
    return sft - gamma * path_gradient(student, own, *advantage(aligned, reference, own))


def test_the_advantage_is_positive_where_the_alignment_went() -> None:
    reference, aligned = mixture((1.0, 0.0, 0.0, 1.0)), mixture((1.0, M, 0.0, 1.0))
    start = mixture((1.0, 2.0, 0.0, 1.0))  # already beyond the aligned teacher
    places = nodes_of(mixture((1.0, 1.5, 0.0, 1e-3)))
    for counted_from, sign, value in ((reference, 1, M * 1.5 - 0.5), (start, -1, -0.0)):
        values, (along_x, along_y) = advantage(aligned, counted_from, places)
        assert (torch.sign(along_x) == sign).all()
        assert float(along_y.abs().max()) < 1e-12
        assert float(mean_over(places, values)) == pytest.approx(value, abs=1e-6)


def test_an_advantage_over_itself_is_nothing() -> None:
    values, along = advantage(TEACHER, TEACHER, nodes_of(STUDENT))
    assert float(values.abs().max()) == 0.0
    assert all(float(a.abs().max()) == 0.0 for a in along)


def test_the_mean_advantage_is_a_difference_of_kls() -> None:
    """E_student[A] = KL(student || reference) - KL(student || aligned)."""
    values, _ = advantage(TEACHER, mixture((1.0, 0.2, 0.2, 0.8)), nodes_of(STUDENT))
    models = [to_model(p[0].numpy()) for p in (STUDENT, TEACHER, mixture((1.0, 0.2, 0.2, 0.8)))]
    exact = kl(models[0], models[2]) - kl(models[0], models[1])
    assert float(mean_over(nodes_of(STUDENT), values)) == pytest.approx(exact, abs=1e-3)
    assert np.isfinite(log_density(models[0], models[1]).value)
