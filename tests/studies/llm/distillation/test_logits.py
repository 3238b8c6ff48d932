"""Logit and on-policy distillation: what a student makes of its teacher's distributions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.distillation.registry import run_distillation
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.training import checkpoints
from tests.studies.llm.distillation.distilled import distil, distill_node
from tests.studies.llm.training_nodes import UPDATES

pytestmark = pytest.mark.slow


def test_a_student_learns_more_of_its_teacher_from_the_same_samples(taught: ArtifactStore) -> None:
    """And it is measured alike: the gap is that of the held-out samples' likelihood."""
    found, losses = {}, {}
    for way in ("sequence", "logits"):
        node = distill_node(way)
        losses[way] = distil(taught, node)["loss"]
        found[way] = json.loads(taught.read(node, "facts.json"))
    tokens, logits = found["sequence"], found["logits"]
    assert logits["teacher_entropy"] == tokens["teacher_entropy"]
    assert logits["gap"] == pytest.approx(logits["heldout_loss"] - logits["teacher_entropy"])
    assert 0 < logits["gap"] < tokens["gap"]
    # a divergence, and no likelihood: the teacher's entropy isn't in it
    assert losses["logits"][-1] < losses["sequence"][-1] - 0.5 * tokens["teacher_entropy"]


@pytest.mark.parametrize("way", ["logits", "on_policy"])
@pytest.mark.parametrize(
    ("fields", "resources", "version"),
    [({"packing": True}, {}, 1), ({}, {"gradient_accumulation": 2}, 2)],
    ids=["packed", "in parts"],
)
def test_neither_packing_nor_parts_change_the_curve(
    taught: ArtifactStore, way: str, fields: dict[str, Any], resources: dict[str, Any], version: int
) -> None:
    curves = [
        distil(taught, distill_node(way, 9))["loss"],
        distil(taught, distill_node(way, version + 9, **fields), LlmResources(**resources))["loss"],
    ]
    assert len(curves[0]) == UPDATES
    # what a student draws may differ by a token after rounding has changed its weights
    rows = slice(None) if way == "logits" else slice(0, 16)
    np.testing.assert_allclose(curves[0][rows], curves[1][rows], rtol=2e-4)


def test_on_policy_distillation_at_a_forward_kl_is_logit_s_until_the_student_speaks(
    taught: ArtifactStore,
) -> None:
    """Its first updates are the same; then the student's own samples take the teacher's place."""
    logits = distil(taught, distill_node("logits", 20))["loss"]
    fields: dict[str, Any] = {"jsd_mix": 0.0, "own_samples_share": 0.5, "own_samples_updates": 4}
    mixed = distil(taught, distill_node("on_policy", 20, **fields))["loss"]
    np.testing.assert_allclose(mixed[:12], logits[:12], rtol=1e-5)
    assert not np.isclose(mixed[12:], logits[12:], rtol=1e-3).any()


def test_a_student_learns_from_its_own_samples_alone(taught: ArtifactStore) -> None:
    node = distill_node("on_policy", 30, own_samples_share=1.0, jsd_mix=1.0, own_samples_updates=8)
    curves = distil(taught, node)
    assert curves["loss"][-1] < 0.9 * curves["loss"][0]
    # the student draws what it learns, the teacher scores it
    plain = distill_node("logits", 30)
    distil(taught, plain)
    own, theirs = (taught.open(one).cost["flops"] for one in (node, plain))
    assert own > 1.1 * theirs
    assert curves["heldout_loss"][-1] < curves["heldout_loss"][0]


def test_a_student_that_was_interrupted_draws_the_same_again(taught: ArtifactStore) -> None:
    fields: dict[str, Any] = {"own_samples_updates": 4}
    whole = distil(taught, distill_node("on_policy", 40, **fields))
    node = distill_node("on_policy", 41, **fields)

    def stop(progress: Progress) -> None:
        if progress.step == 19:
            raise KeyboardInterrupt

    group = WorkerGroup(resources=LlmResources(checkpoint_updates=7), report=stop)
    with pytest.raises(KeyboardInterrupt):
        list(run_distillation(node, taught, group))
    scratch = checkpoints.scratch_folder(taught, node, group)
    assert {path.name for path in scratch.glob("checkpoint-*")} == {"checkpoint-8", "checkpoint-16"}
    again = distil(taught, node, LlmResources(checkpoint_updates=7))
    np.testing.assert_allclose(again["loss"], whole["loss"], rtol=1e-6)
    assert again["heldout_loss"][-1] == pytest.approx(whole["heldout_loss"][-1], rel=1e-6)
