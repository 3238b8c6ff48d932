"""Logit distillation: its divergence and gradient, and what a student makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.distillation.registry import SETTING, run_distillation
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.distillation.losses import forward_kl, log_probs_of, summed_in_parts
from tests.studies.llm.training_nodes import (
    BATCH,
    SAMPLES,
    TEACHER,
    UPDATES,
    student_node,
)


def drawn(
    seed: int, rows: int = 5, places: int = 4, own: int = 7, teacher: int = 7
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a student and of its teacher, and which places are learned."""
    generator = torch.Generator().manual_seed(seed)
    student = 2 * torch.randn(rows, places, own, generator=generator, dtype=torch.float64)
    theirs = 2 * torch.randn(rows, places, teacher, generator=generator)
    learned = torch.rand(rows, places, generator=generator) < 0.6
    return student.requires_grad_(), theirs, learned


def by_hand(student: Tensor, teacher: Tensor, learned: Tensor) -> Tensor:
    """The same sum by plain autograd."""
    width = min(student.shape[-1], teacher.shape[-1])
    p = torch.softmax(teacher[..., :width].double(), -1)
    q = torch.log_softmax(student, -1)[..., :width]
    return ((p * (p.log() - q)).sum(-1) * learned).sum()


@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 6),
    own=st.integers(2, 9),
    teacher=st.integers(2, 9),
)
def test_the_divergence_and_its_gradient_are_autograd_s(
    seed: int, rows: int, own: int, teacher: int
) -> None:
    student, theirs, learned = drawn(seed, own=own, teacher=teacher)
    found = forward_kl(student, learned, lambda part: theirs[part], rows)
    expected = by_hand(student, theirs, learned)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-5)
    (slope,) = torch.autograd.grad(3 * found, student)
    (expected_slope,) = torch.autograd.grad(3 * expected, student)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-4, atol=1e-5)


def test_its_gradient_is_that_of_the_samples_likelihood_in_expectation() -> None:
    student, theirs, learned = drawn(1)
    (slope,) = torch.autograd.grad(
        forward_kl(student, learned, lambda part: theirs[part], 2), student
    )
    p = torch.softmax(theirs.double(), -1)
    expected = torch.zeros_like(student)
    for token in range(p.shape[-1]):  # every token that could have been drawn, at every place
        loss = -(torch.log_softmax(student, -1)[..., token] * p[..., token] * learned).sum()
        expected += torch.autograd.grad(loss, student)[0]
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)


def test_it_is_forward_and_nothing_where_both_agree() -> None:
    student, theirs, learned = drawn(2)
    there = forward_kl(student, learned, lambda part: theirs[part], 5)
    back = forward_kl(theirs.double(), learned, lambda part: student.detach()[part].float(), 5)
    assert float(there.detach()) != pytest.approx(float(back), rel=0.05)
    same = forward_kl(theirs.double(), learned, lambda part: theirs[part], 5)
    assert float(same) == pytest.approx(0, abs=1e-5)
    assert float(there.detach()) > 0


def test_a_token_that_the_teacher_never_says_costs_nothing_and_loses_probability() -> None:
    student, theirs, _ = drawn(3)
    theirs[..., 2] = -torch.inf
    learned = torch.ones(student.shape[:2], dtype=torch.bool)
    found = forward_kl(student, learned, lambda part: theirs[part], 5)
    assert torch.isfinite(found)
    (slope,) = torch.autograd.grad(found, student)
    assert torch.isfinite(slope).all()
    assert (slope[..., 2] > 0).all()


def distilled(
    store: ArtifactStore, way: str, version: int = 1, resources: LlmResources | None = None,
    **fields: Any,
) -> Node:  # fmt: skip
    """A student of 24 updates, learned in that way; another version is another artifact."""
    node = replace(student_node(TEACHER, **fields), stage="distill", version=version)
    named = {**node.config, "distill_epochs": UPDATES * BATCH / SAMPLES}
    named.pop("p_prime_epochs")
    if way != "sequence":
        named[SETTING] = way
    node = replace(node, config=named)
    group = WorkerGroup(resources=resources or LlmResources())
    for progress in run_distillation(node, store, group):
        assert isinstance(progress, Progress)
    return node


@pytest.mark.slow
def test_a_student_learns_more_of_its_teacher_from_the_same_samples(taught: ArtifactStore) -> None:
    """And it is measured alike: the gap is that of the held-out samples' likelihood."""
    found = {}
    for way in ("sequence", "logits"):
        node = distilled(taught, way)
        found[way] = json.loads(taught.read(node, "facts.json"))
        losses = taught.read_table(node, "curves.parquet").to_pylist()
        found[way]["losses"] = [row["value"] for row in losses if row["metric"] == "loss"]
    tokens, logits = found["sequence"], found["logits"]
    assert logits["teacher_entropy"] == tokens["teacher_entropy"]
    assert logits["gap"] == pytest.approx(logits["heldout_loss"] - logits["teacher_entropy"])
    assert 0 < logits["gap"] < tokens["gap"]
    # a divergence, and no likelihood: the teacher's entropy isn't in it
    assert logits["losses"][-1] < tokens["losses"][-1] - 0.5 * tokens["teacher_entropy"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "resources", "version"),
    [({"packing": True}, {}, 1), ({}, {"gradient_accumulation": 2}, 2)],
    ids=["packed", "in parts"],
)
def test_neither_packing_nor_parts_change_the_curve(
    taught: ArtifactStore, fields: dict[str, Any], resources: dict[str, Any], version: int
) -> None:
    curves = []
    for node in (
        distilled(taught, "logits", version=9),
        distilled(taught, "logits", version, LlmResources(**resources), **fields),
    ):
        rows = taught.read_table(node, "curves.parquet").to_pylist()
        curves.append([row["value"] for row in rows if row["metric"] == "loss"])
    assert len(curves[0]) == UPDATES
    np.testing.assert_allclose(curves[0], curves[1], rtol=2e-4)
