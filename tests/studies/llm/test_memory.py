"""What a worker needs at once, by stage, and that what can't fit is refused before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.orderings import Ordering
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.models.architectures import shape_parameters
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.settings import LlmSettings

STUDY = {"name": "own/large", "kind": "llm", "question": "Does it fit?",
         "orderings": ["K-A"], "seeds": 1}  # fmt: skip


def memory(stage: str, resources: LlmResources | None = None, **settings: Any) -> dict[str, float]:
    cell = KIND.cell(Ordering.model_validate("K-A"), LlmSettings(**settings), 0)
    nodes = [node for node in cell.nodes if node.stage == stage]
    return dict(KIND.memory(nodes[-1], resources or LlmResources()))


def test_an_alignment_holds_a_trained_policy_and_what_it_is_compared_with() -> None:
    found = memory("align", student="nano-medium")
    policy, target = (shape_parameters(f"nano-{size}", 512) for size in ("medium", "small"))
    assert found["policy and AdamW"] == 16 * policy
    assert found["reference"] == 4 * policy
    assert found["reward model"] == 4 * target
    assert min(found.values()) > 0


@pytest.mark.parametrize(("stage", "share"), [(None, 16), (1, 10), (2, 7), (3, 4)])
def test_zero_shares_what_its_stage_says(stage: Any, share: float) -> None:
    wanted = LlmResources(workers=4, zero_stage=stage)
    found = memory("sft", wanted)["model and AdamW"]
    assert found == share * shape_parameters("nano-medium", 512)


def test_less_at_once_needs_less() -> None:
    whole = memory("sft")["activations and logits"]
    parts = memory("sft", LlmResources(gradient_accumulation=4))["activations and logits"]
    twice = memory("sft", LlmResources(gradient_checkpointing=True))["activations and logits"]
    assert parts == pytest.approx(whole / 4)
    assert twice < whole
    on_gpu = memory("assess", LlmResources(gpus_per_trial=1))
    assert on_gpu["model"] == memory("assess")["model"] / 2


def test_a_teacher_that_scores_stands_beside_its_student() -> None:
    found = memory("distill", distillation="logits")
    assert found.pop("teacher") == 4 * shape_parameters("nano-medium", 512)
    assert found == memory("distill")


def test_adpa_holds_the_teacher_its_reference_and_where_the_student_began() -> None:
    ordering = {"name": "A-x", "stages": ["align", {"distill": "adpa"}]}
    final = KIND.cell(Ordering.model_validate(ordering), LlmSettings(), 0).models["final"]
    large, small = (shape_parameters(name, 512) for name in ("nano-medium", "nano-small"))
    assert KIND.memory(final, LlmResources())["teacher"] == 4 * (2 * large + small)


def test_every_stage_but_a_pointer_needs_some() -> None:
    cell = KIND.cell(Ordering.model_validate("A-K"), LlmSettings(p_star="a/b"), 0)
    for node in cell.nodes:
        assert bool(KIND.memory(node, LlmResources())) == (node.stage != "load")


def test_what_cannot_fit_is_said_by_the_plan_and_refused_by_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("\n".join(f"{name}: {value}" for name, value in STUDY.items()))
    rows = {r["what"]: r["value"] for r in rt.plan(path, storage=tmp_path / "runs").rows()}
    assert "policy and AdamW" in rows["memory per worker: align"]
    assert rows["memory here"].startswith("nothing")
    monkeypatch.setattr("recalltrap_studies.llm.kind.device_memory", lambda *_: 2e6)
    rows = {r["what"]: r["value"] for r in rt.plan(path, storage=tmp_path / "runs").rows()}
    assert rows["memory here"].startswith("no: the stage pretrain needs")
    message = r"the stage pretrain needs .* per worker .*has 2 MB here: .* too little\. Choose"
    with pytest.raises(InputError, match=message):
        rt.run(path, storage=tmp_path / "runs", local=True)
    assert not (tmp_path / "runs/studies").exists(), "nothing ran"
