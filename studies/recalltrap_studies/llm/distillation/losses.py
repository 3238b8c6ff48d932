"""What distillations minimise, as functions of log-probabilities over the whole vocabulary.

And the way through them that holds few logits at a time. Legend: B sequences, T places, N learned
places, V tokens; all are natural logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[Tensor, slice], Tensor]
"""Of the student's log-probabilities [N, V] at the learned places of some rows, and those rows: a
sum over the places."""


def summed_in_parts(logits_BTV: Tensor, learned_BT: Tensor, loss: Loss, rows: int) -> Tensor:
    """The sum of a loss over the learned places, so many rows at a time.

    Besides the student's logits and their gradient there is never more than what the loss makes of
    `rows` sequences: its gradient is computed on the way.
    """
    total: Tensor = _InParts.apply(logits_BTV, learned_BT, loss, rows)  # type: ignore[no-untyped-call]
    return total


class _InParts(torch.autograd.Function):
    """Autograd would keep several tensors of the logits' size, and the other models'."""

    @staticmethod
    def forward(
        context: Any, logits_BTV: Tensor, learned_BT: Tensor, loss: Loss, rows: int
    ) -> Tensor:
        gradient_BTV = torch.zeros_like(logits_BTV)
        total = torch.zeros((), dtype=torch.float32, device=logits_BTV.device)
        for start in range(0, len(logits_BTV), rows):
            part = slice(start, start + rows)
            learned = learned_BT[part]
            if not learned.any():
                continue
            own_NV = logits_BTV[part][learned].float().requires_grad_()
            with torch.enable_grad():
                value = loss(torch.log_softmax(own_NV, -1), part)
            (slope_NV,) = torch.autograd.grad(value, own_NV)
            total += value.detach()
            gradient_BTV[part][learned] = slope_NV.to(gradient_BTV.dtype)
        context.save_for_backward(gradient_BTV)
        return total

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_BTV,) = context.saved_tensors
        return gradient_BTV * upstream[0].to(gradient_BTV.dtype), None, None, None


def log_probs_of(logits_NW: Tensor, width: int) -> Tensor:
    """Another model's log-probabilities over the student's `width` tokens, [N, V].

    Of vocabularies of two widths (embeddings padded beyond the tokenizer) its further tokens are
    cut off, and those that it doesn't have are impossible.
    """
    kept_NW = torch.log_softmax(logits_NW[:, :width].float(), -1)
    missing = width - kept_NW.shape[1]
    return torch.nn.functional.pad(kept_NW, (0, missing), value=-torch.inf)


def nll(own_NV: Tensor, token_N: Tensor) -> Tensor:
    """-log pi(token) of each place [N]: supervised fine-tuning."""
    return -own_NV.gather(1, token_N[:, None])[:, 0]


def forward_kl(own_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """KL(teacher || student) of each place [N]: covers what the teacher says."""
    return _expected(teacher_NV, teacher_NV - own_NV)


def reverse_kl(own_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """KL(student || teacher) of each place [N]: keeps to what the teacher says most.

    Over tokens that the teacher has at all.
    """
    there_NV = teacher_NV > -torch.inf
    log_ratio_NV = torch.where(there_NV, own_NV - teacher_NV.masked_fill(~there_NV, 0.0), 0.0)
    return (own_NV.exp() * log_ratio_NV).sum(-1)


def generalised_jsd(own_NV: Tensor, teacher_NV: Tensor, mix: float) -> Tensor:
    """mix KL(teacher || m) + (1 - mix) KL(student || m) with m = mix teacher + (1 - mix) student,
    of each place [N] (Agarwal et al. 2024, eq. 1).

    At the ends, where that is 0 for all students, what it is proportional to near them: at 0 the
    forward KL to the teacher, at 1 the reverse (as TRL has it).
    """
    if mix == 0:
        return forward_kl(own_NV, teacher_NV)
    if mix == 1:
        return reverse_kl(own_NV, teacher_NV)
    both = torch.stack([teacher_NV + math.log(mix), own_NV + math.log1p(-mix)])
    middle_NV = torch.logsumexp(both, 0)
    teacher_N = _expected(teacher_NV, teacher_NV - middle_NV)
    return mix * teacher_N + (1 - mix) * (own_NV.exp() * (own_NV - middle_NV)).sum(-1)


def advantage(teacher_NV: Tensor, reference_NV: Tensor, *, top_k: int | None = None) -> Tensor:
    """A = log pi_aligned - log pi_reference of every token at every place [N, V] (ADPA, arXiv
    2502.17927): above 0 where alignment made a token likelier. 0 where either lacks the token.

    With `top_k` (ours) the tokens that the aligned model says less than its k likeliest count as
    one, which each model says with the mass that it has left: the ratio of two probabilities of
    nearly nothing is noise, and the expectation under a student can grow by it without end.
    """
    own_NV = _log_ratio(teacher_NV, reference_NV)
    if top_k is None or top_k >= teacher_NV.shape[1]:
        return own_NV
    kept_NV = torch.zeros_like(teacher_NV, dtype=torch.bool)
    kept_NV.scatter_(1, teacher_NV.topk(top_k, dim=1).indices, True)
    left = (x.masked_fill(kept_NV, -torch.inf).logsumexp(1) for x in (teacher_NV, reference_NV))
    return torch.where(kept_NV, own_NV, _log_ratio(*left)[:, None])


def _log_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The difference of two log-probabilities; 0 where either is of nothing."""
    there = (numerator > -torch.inf) & (denominator > -torch.inf)
    return torch.where(there, numerator - denominator, 0.0)


def expected_advantage(own_NV: Tensor, advantage_NV: Tensor) -> Tensor:
    """sum_a pi(a | s) A(a, s) of each place [N]: exact, over every token that could come next."""
    return (own_NV.exp() * advantage_NV).sum(-1)


def entropy(own_NV: Tensor) -> Tensor:
    """Of the next token at each place [N]."""
    return -(own_NV.exp() * own_NV).sum(-1)


def _expected(log_prob_NV: Tensor, value_NV: Tensor) -> Tensor:
    """The mean of a value under a distribution; what has no probability counts nothing, also where
    the value is infinite there."""
    there_NV = log_prob_NV > -torch.inf
    return (log_prob_NV.exp() * value_NV.masked_fill(~there_NV, 0.0)).sum(-1)
