"""What of a cell depends on which setting, what is shared, and which settings are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap.orderings import Ordering
from recalltrap.study.named_studies import load_study
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.cost_estimates import updates
from recalltrap_studies.llm.distillation.registry import DISTILLATIONS
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.registry import DISTILL


def cell(ordering: Any = "K-A", seed: int = 1, **settings: Any) -> Cell:
    return KIND.cell(Ordering.model_validate(ordering), LlmSettings(**settings), seed)


def changed(ordering: str, **settings: Any) -> list[str]:
    """The stages of a cell that other settings build anew."""
    before = {node.id for node in cell(ordering).nodes}
    after = cell(ordering, **settings).nodes
    return sorted(node.stage for node in after if node.id not in before)


@pytest.mark.parametrize(
    ("ordering", "settings", "stages"),
    [
        ("K-A", {"kl_weight": 2.0}, ["align", "assess"]),
        ("A-K", {"kl_weight": 2.0}, ["align", "assess", "assess", "distill", "sample"]),
        ("K-A", {"last_distill_temperature": 0.9}, []),
        ("A-K", {"last_distill_temperature": 0.9}, ["assess", "distill", "sample"]),
        ("K-A", {"distill_temperature": 0.9}, ["align", "assess", "assess", "distill", "sample"]),
        ("K", {"reward_shaping": "clip"}, ["assess", "assess", "oracle"]),
        ("K", {"student": "nano-medium"}, ["assess", "distill"]),
        ("K", {"evaluation_samples": 64}, ["assess", "assess", "sample"]),
        ("K", {"group_size": 4, "dpo_updates": 3, "ppo_epochs": 2}, []),
        ("K-A", {"align_max_gradient_norm": 0.5}, ["align", "assess"]),
        ("K-A", {"align_max_gradient_norm": 1.0, "max_gradient_norm": 1.0}, []),
    ],
)
def test_a_setting_builds_anew_what_reads_it_and_what_follows(
    ordering: str, settings: dict[str, Any], stages: list[str]
) -> None:
    assert changed(ordering, **settings) == stages


HANDED_OVER: Any = {"name": "A-logits", "stages": ["align", {"distill": "logits"}]}


def test_a_step_distils_as_it_says_from_what_the_others_share() -> None:
    plain, own = cell("A-K"), cell(HANDED_OVER)
    assert own.models["final"].id != plain.models["final"].id
    assert own.models["final"].config["distillation"] == "logits"
    differing = {node.id for node in own.nodes} - {node.id for node in plain.nodes}
    assert {node.stage for node in own.nodes if node.id in differing} == {"distill", "assess"}
    # As the settings' own distillation would have made it, and only the last step.
    everywhere = cell("A-K", distillation="logits")
    assert own.models["final"].id == everywhere.models["final"].id
    assert (
        own.models["p_second"].id == plain.models["p_second"].id != everywhere.models["p_second"].id
    )
    assert (
        cell({**HANDED_OVER, "stages": ["align", {"distill": "sequence"}]}).models == plain.models
    )


def by(*names: str) -> dict[str, Any]:
    """An ordering that aligns p' and hands it over by these distillations."""
    return {"name": "A-x", "stages": ["align", *({"distill": name} for name in names)]}


def test_preferences_are_those_of_the_model_that_the_teacher_was_aligned_from() -> None:
    found = cell(by("dckd")).models
    final, p_prime = found["final"], found["p_prime"]
    assert final.parents["teacher"] is found["p_prime_aligned"]
    assert final.parents["reference"].id == p_prime.id
    assert final.parents["pairs"].parents["model"].id == p_prime.id
    assert final.parents["pairs"].config["temperature"] == 1.0
    # held out is what the plain distillation is measured by, too
    plain = cell("A-K").models["final"]
    assert final.parents["samples"].id == plain.parents["samples"].id
    assert {"p_target", "oracle"} < final.parents.keys()
    rewarded = cell(by("dckd"), reward="length").models["final"]
    assert rewarded.config["reward"] == "length"
    assert "oracle" not in rewarded.parents


def test_adpa_goes_on_from_p_second_where_it_goes_itself() -> None:
    """K-A's own p'': nothing is distilled twice; ADPA+ goes on from DCKD's student instead."""
    models = cell(by("adpa")).models
    final = models["final"]
    assert final.parents["start"].id == models["p_second"].id
    assert final.parents["states"].parents["model"].id == models["p_second"].id
    plus, dckd = cell(by("adpa_plus")).models["final"], cell(by("dckd")).models["final"]
    assert plus.parents["start"].id == dckd.id
    assert plus.parents["states"].parents["model"].id == dckd.id
    assert plus.config["distillation"] == final.config["distillation"] == "adpa"


@pytest.mark.parametrize("way", [None, *DISTILLATIONS])
def test_a_last_student_may_begin_as_p_second(way: str | None) -> None:
    """Of an aligned teacher alone: p'' is what it was, and so is all that K-A makes."""
    ordering: Any = "A-K" if way is None else by(way)
    plain, found = (
        cell(ordering, last_distill_start=start).models for start in ("new", "p_second")
    )
    assert found["p_second"].id == plain["p_second"].id
    assert cell("K-A", last_distill_start="p_second").models == cell("K-A").models
    final = found["final"]
    if way == "adpa_plus":  # DCKD's student is what begins
        final = final.parents["start"]
    assert final.parents["start"].id == plain["p_second"].id
    assert "architecture" not in final.config
    assert (found["final"].id == plain["final"].id) == (way == "adpa")
    for name, model in plain.items():
        assert name == "final" or found[name].id == model.id


def test_layers_are_kept_of_p_prime_and_never_of_p_second() -> None:
    layers: dict[str, Any] = {"student_weights": "layers", "student_layers": 2}
    new = cell("A-K", **layers).models["final"]
    assert new.config["student_layers"] == 2
    assert new.parents["start"].id == cell("A-K", **layers).models["p_prime"].id
    models = cell("A-K", **layers, last_distill_start="p_second").models
    assert models["final"].parents["start"].id == models["p_second"].id
    assert "student_layers" not in models["final"].config
    assert "student_layers" in models["p_second"].config


def test_what_a_handover_reads_decides_it_alone() -> None:
    adpa = cell(by("adpa"), advantage_weight=0.5).models
    assert (
        adpa["final"].id == cell(by("adpa"), advantage_weight=0.5, jsd_mix=0.1).models["final"].id
    )
    assert adpa["final"].id != cell(by("adpa")).models["final"].id
    plain = cell(by("adpa"), dckd_weight=0.5)
    assert plain.models["final"].id == cell(by("adpa")).models["final"].id
    unread = KIND.reads(LlmSettings(), [Ordering.model_validate("A-K")]).unread
    assert "advantage_weight" in unread
    read = KIND.reads(LlmSettings(), [Ordering.model_validate(by("adpa_plus"))]).fields
    assert {"advantage_weight", "dckd_weight", "preference_noise"} < read
    assert "jsd_mix" not in read


def test_half_a_batch_are_better_responses() -> None:
    with pytest.raises(InputError, match=r"settings.batch_size = 7 is odd.*make it even"):
        cell(by("dckd"), batch_size=7)


@pytest.mark.parametrize(
    "stages",
    [[{"distill": "adpa"}], ["distill", {"distill": "dckd"}],
     ["align", "distill", {"distill": "adpa_plus"}],
     ["align", {"distill": "logits"}, {"distill": "dckd"}]],
)  # fmt: skip
def test_only_a_teacher_that_was_just_aligned_hands_its_alignment_over(stages: list[Any]) -> None:
    study = {
        "name": "own/handover", "kind": "llm", "question": "Why?", "seeds": 1,
        "orderings": ["K-A", {"name": "A-x", "stages": stages}],
    }  # fmt: skip
    with pytest.raises(InputError, match=r"'A-x' hands over .*: put an align before it"):
        load_study(study)
    study["orderings"] = ["K-A", {"name": "A-x", "stages": ["align", stages[-1]]}]
    assert load_study(study).orderings[1].distillations == {stages[-1]["distill"]}


def test_what_only_an_aligned_teacher_has_is_no_setting() -> None:
    with pytest.raises(ValidationError, match=r"stages: \[align, {distill: dckd}\]"):
        LlmSettings(distillation="dckd")


def taus(ordering: Any, **settings: Any) -> list[float]:
    """Temperatures of the samples that the final model and its teachers were distilled from."""
    model = cell(ordering, **settings).models["final"]
    found: list[float] = []
    while model.stage in ("distill", "align"):
        if model.stage == "distill":
            found.append(model.parents["samples"].config["temperature"])
        model = model.parents["teacher" if model.stage == "distill" else "start"]
    return found[::-1]


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("K", [0.95]),
        ("K-A", [0.95]),
        ("K-A@p'", [0.95]),
        ("A-K", [0.9]),
        ("K-A-K", [0.95, 0.9]),
        ({"name": "twice", "stages": ["distill", "align", "distill", "distill"]}, [0.95, 0.9, 0.9]),
        ({"name": "deep", "stages": ["distill", "distill", "align"]}, [0.95, 0.95]),
    ],
)
def test_the_last_temperature_is_that_of_distillations_after_an_alignment(
    ordering: Any, expected: list[float]
) -> None:
    assert taus(ordering, last_distill_temperature=0.9) == expected
    assert set(taus(ordering)) == {0.95}
    p_second = [cell(ordering, last_distill_temperature=tau).models["p_second"].id
                for tau in (None, 0.9, 1.0)]  # fmt: skip
    assert len(set(p_second)) == 1


def test_a_last_temperature_that_is_the_same_changes_no_artifact() -> None:
    named = {node.id for node in cell("A-K", last_distill_temperature=0.95).nodes}
    assert named == {node.id for node in cell("A-K").nodes}


GOLDEN = {
    "ppo": "a7adaffe08f92fbc9865", "dpo_online": "2de001c8adae1226241b",
    "dpo_offline": "e289f65f406d248cb57b",
}  # fmt: skip
"""Alignments of K-A as they were called from the start: changes elsewhere leave their artifacts."""


@pytest.mark.parametrize("algorithm", GOLDEN)
def test_artifacts_of_algorithms_that_did_not_change_keep_their_ids(algorithm: str) -> None:
    assert cell("K-A", algorithm=algorithm).models["final"].id == GOLDEN[algorithm]


def test_versions_are_those_of_an_algorithm() -> None:
    for name, record in ALGORITHMS.items():
        assert cell("K-A", algorithm=name).models["final"].version == record.version
    assert {name for name, record in ALGORITHMS.items() if record.version == 2} == {"grpo", "rloo"}


def test_p_star_is_made_once_and_everything_else_once_a_seed() -> None:
    one, other = cell(seed=1), cell(seed=2)
    shared = {node.id for node in one.nodes} & {node.id for node in other.nodes}
    assert [node.stage for node in one.nodes if node.id in shared] == ["pretrain"]


def test_both_orderings_share_references_and_evaluation_sets() -> None:
    k_a, a_k = cell("K-A"), cell("A-K")
    for name in ("p_prime", "p_second"):
        assert k_a.models[name].id == a_k.models[name].id
        assert k_a.assessments[name].id == a_k.assessments[name].id
    judges = {tuple(p.id for name, p in node.parents.items() if name != "model")
              for c in (k_a, a_k) for node in c.assessments.values()}  # fmt: skip
    assert len(judges) == 1, "the same samples of p*, p_target and oracle"


def test_p_target_never_learns_the_samples_that_a_student_learns() -> None:
    nodes = cell("K", distill_temperature=0.8, target_temperature=0.8).nodes
    learned = {
        node.stage: node.parents["samples"].id for node in nodes if "samples" in node.parents
    }
    assert learned["target"] != learned["distill"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kl_weight": 0.0}, "kl_weight"),
        ({"kl_weight": -1.0}, "kl_weight"),
        ({"algorithm": "dpo_online", "rollout_size": 63}, "rollout_size 63 must be even"),
        (
            {"algorithm": "ppo", "minibatch_size": 7},
            "7 must divide the 64 responses",
        ),
        ({"algorithm": "dpo_online", "minibatch_size": 64}, "must divide the 32 pairs"),
        ({"algorithm": "kto", "minibatch_size": 1}, "minibatch_size 1 is too small for KTO"),
        ({"algorithm": "grpo", "group_size": 7}, "group_size 7 must divide rollout_size 64"),
        ({"align_tokens": 33}, "align_tokens 33 must not be more than sample_tokens 32: .*Lower"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LlmSettings(**settings)


def test_updates_follow_from_epochs() -> None:
    nodes = {node.stage: node for node in cell("K").nodes}
    settings = LlmSettings()
    wanted = settings.distill_epochs * settings.training_samples / settings.batch_size
    assert updates(nodes["distill"], DISTILL.epochs) == wanted


@pytest.mark.parametrize(
    ("algorithm", "more"),
    [("ppo", {"ppo_epochs": 2}), ("dpo_online", {"dpo_updates": 32}), ("grpo", {"iterations": 400}),
     ("rloo", {"rollout_size": 128}), ("dpo_offline", {"selection_interval": 1}),
     ("kto", {"offline_pairs": 4096})],
)  # fmt: skip
def test_an_alignment_that_draws_or_learns_more_takes_more(
    algorithm: str, more: dict[str, Any]
) -> None:
    few, many = (
        KIND.estimate(cell("K-A", algorithm=algorithm, **fields).models["final"]).flops
        for fields in ({}, more)
    )
    assert 0 < few < many


def test_clipping_at_its_default_stands_in_no_stage_s_configuration() -> None:
    def clipped(**settings: Any) -> set[str]:
        nodes = cell("K-A", **settings).nodes
        return {node.stage for node in nodes if any("gradient" in name for name in node.config)}

    assert clipped() == set()
    trainings = {"pretrain", "sft", "target", "distill"}
    assert clipped(max_gradient_norm=0.3) == trainings
    assert clipped(max_gradient_norm=0.3, align_max_gradient_norm=2.0) == {*trainings, "align"}


def test_the_papers_scale_takes_more_than_a_laptop_has() -> None:
    def operations(name: str) -> float:
        cells = load_study(name).cells()
        nodes = {node.id: node for one in cells for node in one.nodes}
        found = [KIND.estimate(node) for node in nodes.values()]
        assert all(one.seconds >= 0 and one.bytes > 0 for one in found)
        return sum(one.flops for one in found)

    assert operations("llm/nano") < 1e13 < 1e16 < operations("llm/one-gpu-ppo")
    assert operations("llm/one-gpu-ppo") < 1e19 < operations("llm/smollm2-ppo")
