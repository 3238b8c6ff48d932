"""The losses of distillations against autograd, hand-computed cases, enumeration, and TRL's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

from recalltrap_studies.llm.distillation import losses

MIXES = (0.0, 0.1, 0.5, 0.9, 1.0)
Loss = Callable[[Tensor, Tensor], Tensor]
DIVERGENCES: dict[str, Loss] = {
    "forward": losses.forward_kl,
    "reverse": losses.reverse_kl,
    **{f"jsd {mix}": partial(losses.generalised_jsd, mix=mix) for mix in MIXES},
}


def drawn(
    seed: int, rows: int = 5, places: int = 4, own: int = 7, teacher: int = 7
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a student and of its teacher, and which places are learned."""
    generator = torch.Generator().manual_seed(seed)
    student = 2 * torch.randn(rows, places, own, generator=generator, dtype=torch.float64)
    theirs = 2 * torch.randn(rows, places, teacher, generator=generator)
    learned = torch.rand(rows, places, generator=generator) < 0.6
    return student.requires_grad_(), theirs, learned


def summed(student: Tensor, theirs: Tensor, learned: Tensor, loss: Loss, rows: int) -> Tensor:
    """A loss's sum, so many rows at a time, as trainings compute it."""

    def of(own_NV: Tensor, part: slice) -> Tensor:
        teacher_NV = losses.log_probs_of(theirs[part][learned[part]], own_NV.shape[1])
        return loss(own_NV, teacher_NV).sum()

    return losses.summed_in_parts(student, learned, of, rows)


def row(*probabilities: float) -> Tensor:
    """Log-probabilities of one place."""
    return torch.tensor([probabilities]).log()


@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 6),
    own=st.integers(2, 9),
    teacher=st.integers(2, 9),
    name=st.sampled_from(sorted(DIVERGENCES)),
)
def test_sum_and_gradient_are_autograd_s_however_many_rows_there_are_at_once(
    seed: int, rows: int, own: int, teacher: int, name: str
) -> None:
    student, theirs, learned = drawn(seed, own=own, teacher=teacher)
    found = summed(student, theirs, learned, DIVERGENCES[name], rows)
    plain = torch.log_softmax(student[learned], -1)
    width = student.shape[-1]
    expected = DIVERGENCES[name](plain, losses.log_probs_of(theirs[learned], width).double()).sum()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-5)
    (slope,) = torch.autograd.grad(3 * found, student)
    (expected_slope,) = torch.autograd.grad(3 * expected, student)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*DIVERGENCES, "advantage", "nll", "entropy"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    teacher, reference = (
        torch.log_softmax(2 * torch.randn(3, 6, generator=generator, dtype=torch.float64), -1)
        for _ in range(2)
    )
    others: dict[str, Callable[[Tensor], Tensor]] = {
        "advantage": lambda own: losses.expected_advantage(
            own, losses.advantage(teacher, reference)
        ),
        "nll": lambda own: losses.nll(own, torch.tensor([0, 5, 2])),
        "entropy": losses.entropy,
    }

    def of(logits: Tensor) -> Tensor:
        own = torch.log_softmax(logits, -1)
        return DIVERGENCES[name](own, teacher) if name in DIVERGENCES else others[name](own)

    logits = torch.randn(3, 6, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(of, logits)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences_are_nothing_where_both_agree_and_more_elsewhere(name: str) -> None:
    here, there = row(0.7, 0.2, 0.1), row(0.2, 0.5, 0.3)
    assert float(DIVERGENCES[name](here, here)) == pytest.approx(0, abs=1e-6)
    assert float(DIVERGENCES[name](here, there)) > 0.01


def test_forward_and_reverse_are_what_they_are_by_hand() -> None:
    student, teacher = row(0.9, 0.1), row(0.5, 0.5)
    forward = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    reverse = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert float(losses.forward_kl(student, teacher)) == pytest.approx(forward)
    assert float(losses.reverse_kl(student, teacher)) == pytest.approx(reverse)
    assert forward != pytest.approx(reverse, rel=0.1)
    # forward pays for what the student doesn't say, reverse for what the teacher doesn't
    narrow = row(0.999, 0.001)
    assert losses.forward_kl(narrow, teacher) > 2 * losses.reverse_kl(narrow, teacher)


@pytest.mark.parametrize("mix", MIXES)
def test_the_generalised_jsd_is_trl_s(mix: float) -> None:
    student, theirs, _ = drawn(3)
    own, teacher = student.detach().flatten(0, 1).float(), theirs.flatten(0, 1)
    mine, yours = own.clone().requires_grad_(), own.clone().requires_grad_()
    found = losses.generalised_jsd(torch.log_softmax(mine, -1), torch.log_softmax(teacher, -1), mix)
    head = torch.eye(own.shape[1])
    apply: Any = ChunkedDivergenceFunction.apply
    expected, _ = apply(yours, head, None, teacher, head, None, mix)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    slopes = [torch.autograd.grad(x.sum(), y)[0] for x, y in ((found, mine), (expected, yours))]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("mix", "end"), [(1e-4, "forward"), (1 - 1e-4, "reverse")])
def test_the_ends_are_what_the_jsd_is_proportional_to_near_them(mix: float, end: str) -> None:
    student, teacher = row(0.6, 0.3, 0.1).double(), row(0.2, 0.5, 0.3).double()
    near = losses.generalised_jsd(student, teacher, mix) / min(mix, 1 - mix)
    torch.testing.assert_close(near, DIVERGENCES[end](student, teacher), rtol=1e-3, atol=0)


def test_a_token_that_the_teacher_never_says_costs_nothing_and_loses_probability() -> None:
    student, theirs, _ = drawn(3)
    theirs[..., 2] = -torch.inf
    learned = torch.ones(student.shape[:2], dtype=torch.bool)
    found = summed(student, theirs, learned, losses.forward_kl, 5)
    assert torch.isfinite(found)
    (slope,) = torch.autograd.grad(found, student)
    assert torch.isfinite(slope).all()
    assert (slope[..., 2] > 0).all()


def test_logits_gradient_is_that_of_the_samples_likelihood_in_expectation() -> None:
    """So that logit distillation at infinitely many samples has sequence distillation's optimum."""
    student, theirs, learned = drawn(1)
    (slope,) = torch.autograd.grad(summed(student, theirs, learned, losses.forward_kl, 2), student)
    p = torch.softmax(theirs.double(), -1)
    expected = torch.zeros_like(student)
    for token in range(p.shape[-1]):  # every token that could have been drawn, at every place
        loss = -(torch.log_softmax(student, -1)[..., token] * p[..., token] * learned).sum()
        expected += torch.autograd.grad(loss, student)[0]
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)


def test_the_advantage_is_above_0_where_alignment_made_a_token_likelier() -> None:
    aligned, sft, start = row(0.6, 0.3, 0.1), row(0.3, 0.4, 0.3), row(0.7, 0.1, 0.2)
    over_sft, over_start = losses.advantage(aligned, sft), losses.advantage(aligned, start)
    assert torch.sign(over_sft).tolist() == [[1, -1, -1]]
    assert torch.sign(over_start).tolist() == [[-1, 1, -1]]
    assert float(losses.advantage(sft, sft).abs().max()) == 0
    assert float(over_sft[0, 0]) == pytest.approx(math.log(2))


def test_the_expected_advantage_is_the_sum_over_every_token() -> None:
    """By hand, over a small vocabulary; what neither model has counts nothing."""
    own, aligned, sft = row(0.5, 0.3, 0.2), row(0.6, 0.4), row(0.2, 0.8)
    wide = [losses.log_probs_of(x, 3) for x in (aligned, sft)]
    expected = 0.5 * math.log(0.6 / 0.2) + 0.3 * math.log(0.4 / 0.8)
    found = losses.expected_advantage(own, losses.advantage(*wide))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_missing_mass_is_each_model_s_own() -> None:
    """A wider vocabulary is cut and normalised anew, never filled with the other's least."""
    found = losses.log_probs_of(torch.tensor([[0.0, 0.0, 5.0]]), 2)
    torch.testing.assert_close(found, row(0.5, 0.5))
    assert losses.log_probs_of(torch.tensor([[0.0, 0.0]]), 3)[0, 2] == -torch.inf


def test_beyond_the_top_k_each_model_has_the_mass_that_it_has_left() -> None:
    """By hand, and the sign: what neither says is worth nothing however its tiny odds changed."""
    aligned, sft = row(0.9, 0.06, 0.03999, 0.00001), row(0.5, 0.3, 0.1999999, 0.0000001)
    whole, cut = losses.advantage(aligned, sft), losses.advantage(aligned, sft, top_k=1)
    assert float(whole[0, 3]) == pytest.approx(math.log(100), rel=1e-4)
    left = math.log(0.1 / 0.5)
    torch.testing.assert_close(cut, torch.tensor([[math.log(0.9 / 0.5), left, left, left]]))
    two = losses.advantage(aligned, sft, top_k=2)
    assert torch.sign(two).tolist() == [[1, -1, -1, -1]]
    torch.testing.assert_close(two[:, :2], whole[:, :2])
    assert two[0, 2] == two[0, 3] == pytest.approx(math.log(0.04 / 0.2), rel=1e-4)
    for k in (4, 5, None):
        assert torch.equal(losses.advantage(aligned, sft, top_k=k), whole)
    for k in (1, 2, 3):  # a model over itself has none, and no student gains by all its mass there
        assert float(losses.advantage(sft, sft, top_k=k).abs().max()) == 0
        gain = losses.expected_advantage(aligned, losses.advantage(aligned, sft, top_k=k))
        assert 0 <= float(gain) <= float(losses.expected_advantage(aligned, whole)) + 1e-6


def test_a_cut_where_nothing_is_left_changes_nothing() -> None:
    aligned, sft = (losses.log_probs_of(x, 4) for x in (row(0.6, 0.4), row(0.2, 0.8)))
    assert torch.equal(losses.advantage(aligned, sft, top_k=2), losses.advantage(aligned, sft))


@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_on_policy_gradients_are_those_of_an_enumerated_language(mix: float) -> None:
    """Of all sentences of two tokens: the mean divergence where the student goes, its own way there
    held fixed, by enumeration and by a sum over drawn prefixes weighted by how often they come."""
    generator = torch.Generator().manual_seed(11)
    first = torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_()
    second = torch.randn(3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    teacher_first = torch.log_softmax(torch.randn(3, generator=generator).double(), -1)
    teacher_second = torch.log_softmax(torch.randn(3, 3, generator=generator).double(), -1)

    def place(own: Tensor, theirs: Tensor) -> Tensor:
        return losses.generalised_jsd(torch.log_softmax(own, -1)[None], theirs[None], mix)[0]

    way = torch.softmax(first.detach(), -1)
    expected = place(first, teacher_first)
    for token in range(3):
        expected = expected + way[token] * place(second[token], teacher_second[token])
    total = torch.zeros((), dtype=torch.float64)
    for a, b in itertools.product(range(3), repeat=2):
        p = way[a] * torch.softmax(second.detach()[a], -1)[b]
        total = total + p * (place(first, teacher_first) + place(second[a], teacher_second[a]))
    for parameter in (first, second):
        slopes = [
            torch.autograd.grad(x, parameter, retain_graph=True)[0] for x in (expected, total)
        ]
        torch.testing.assert_close(*slopes)
