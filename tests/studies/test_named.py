"""The named studies are what the README and the paper's figures ask for."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recalltrap.orderings import aligns
from recalltrap.registry import claim_ids
from recalltrap.study.checks import parse_study
from recalltrap.study.named_studies import load_study, named_studies
from recalltrap.study.primary import Primary
from recalltrap.study.study_file import read_study
from recalltrap_studies.llm.models.architectures import unreachable
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.mog.distillation.registry import FIRST, NAMES

ROOT = Path(__file__).parents[2]
EXPECTED = {
    f"mog/{name}"
    for name in [
        "quick",
        "figure1",
        "figure2",
        "ppo-beta",
        "ppo-spacing",
        *("ppo-recall", "grpo-recall", "dpo-recall", "dpo-offline-recall"),
        "dpo-spacing",
        "ppo-iterations",
        "grpo-beta",
        "grpo-iterations",
        "dpo-beta",
        "dpo-iterations",
        "dpo-offline-beta",
        "dpo-offline-iterations",
        "two-targets-ppo",
        "two-targets-dpo",
        "two-targets-grpo",
        "controls",
        "last-sharpness",
        "handover",
        "last-start",
        "reference-quality",
        "phase",
        "tuning",
    ]
}


def test_none_is_missing() -> None:
    assert {name for name in named_studies() if name.startswith("mog/")} == EXPECTED


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_loads_under_its_own_name_with_its_seeds_and_claims(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    assert study.question.endswith("?")
    assert set(study.claims) <= set(claim_ids())
    assert study.claims
    assert study.seeds == tuple(range(20))


@pytest.mark.slow
def test_beta_kd_is_studied_at_both_of_the_papers_values_and_never_mixed() -> None:
    for name in ("ppo-beta", "grpo-beta", "dpo-beta", "dpo-offline-beta", "figure1"):
        assert load_study(f"mog/{name}").grid["teacher_sharpness"] == (1.25, 10.0)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "dpo"])
def test_the_spacing_studies_are_the_sweeps_where_the_modes_lie_further_apart(
    algorithm: str,
) -> None:
    spaced = load_study(f"mog/{algorithm}-spacing")
    swept = load_study(f"mog/{algorithm}-beta", ["settings.spacing=1.5"])
    assert [cell.id for cell in spaced.cells()] == [cell.id for cell in swept.cells()]
    assert spaced.question != swept.question


@pytest.mark.parametrize("algorithm", ["ppo", "grpo", "dpo", "dpo-offline"])
def test_the_studies_of_equal_recall_have_eight_weights_per_doubling(algorithm: str) -> None:
    fine, swept = load_study(f"mog/{algorithm}-recall"), load_study(f"mog/{algorithm}-beta")
    weights = fine.grid["kl_weight"]
    steps = [after / before for before, after in itertools.pairwise(weights)]
    assert max(steps) < 1.1
    assert (weights[0], weights[-1]) == (0.25, 4.0)
    assert (fine.settings, fine.seeds) == (swept.settings, swept.seeds)
    assert {axis: fine.grid[axis] for axis in fine.axes if axis != "kl_weight"} == {
        axis: swept.grid[axis] for axis in swept.axes if axis != "kl_weight"
    }


NANO = {f"llm/{name}" for name in (
    "nano", "nano-ppo-beta", "nano-dpo-beta", "nano-temperature", "nano-rare-target", "nano-trap",
    "nano-handover", "nano-corpus",
)}  # fmt: skip
LARGE = {f"llm/{name}" for name in (
    "one-gpu-ppo", "one-gpu-dpo", "smollm2-ppo", "smollm2-dpo", "smollm2-temperature"
)}  # fmt: skip
REAL = {f"llm/{name}" for name in ("real-check", "real-rare", "real-sentiment")}
NOTHING_ALIGNED = {"mog/figure1", "mog/figure2"}
OTHERWISE = {
    **dict.fromkeys(("mog/handover", "llm/nano-handover"), ("A-ADPA+", "A-K")),
    "mog/last-start": ("A-on-policy", "A-K"),
}
"""Studies that are to decide something else than the order effect."""


@pytest.mark.parametrize("name", sorted(EXPECTED | NANO | LARGE))
def test_each_names_what_it_is_to_decide_unless_it_aligns_nothing(name: str) -> None:
    study = parse_study(*read_study(named_studies()[name].path))
    if name in NOTHING_ALIGNED:
        assert study.primary is None
        assert not any(map(aligns, study.orderings))
    else:
        contrast = OTHERWISE.get(name, ("A-K", "K-A"))
        assert study.primary == Primary(contrast=contrast, at="mean")


PAPER = {
    "p_star": "HuggingFaceTB/SmolLM2-1.7B", "p_prime": "smollm2-360m", "student": "smollm2-135m",
    "p_target": "smollm2-135m", "training_samples": 10_000_000, "heldout_samples": 100_000,
    "sample_tokens": 512, "learning_rate": 5e-4, "adam_beta1": 0.9, "adam_beta2": 0.95,
    "warmup_share": 0.01, "decay_share": 0.2, "prompt": "The", "align_tokens": 128,
    "kl_weight": 0.7, "target_temperature": 0.8, "reward_height": 10.0, "reward_sharpness": 0.5,
    "reward_shaping": "fold", "fold_quantile": 0.9, "model_selection": "paper",
}  # fmt: skip
PAPER_OF = {
    "ppo": {"align_learning_rate": 1e-5, "rollout_size": 64, "minibatch_size": 8, "ppo_epochs": 1,
            "distill_temperature": 0.95},
    "dpo": {"align_learning_rate": 5e-6, "iterations": 2000, "rollout_size": 128,
            "minibatch_size": 8, "dpo_updates": 16, "distill_temperature": 0.95},
    "temperature": {"align_learning_rate": 1e-5, "rollout_size": 64, "distill_temperature": 0.95},
}  # fmt: skip


CURVES = [
    "mog/controls", "mog/dpo-beta", "mog/dpo-offline-beta", "mog/dpo-spacing", "mog/grpo-beta",
    "mog/phase", "mog/ppo-beta", "mog/ppo-spacing", "mog/reference-quality",
    "mog/two-targets-dpo", "mog/two-targets-grpo", "mog/two-targets-ppo", "llm/nano-dpo-beta",
    "llm/nano-ppo-beta",
]  # fmt: skip
"""Studies that draw each ordering's reward against its recall over `kl_weight`."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_a_sweep_over_the_anchor_is_fine_and_holds_the_control_of_the_reference(name: str) -> None:
    study = load_study(name)
    weights = study.grid["kl_weight"]
    assert len(weights) >= 10
    assert list(weights) == sorted(weights)
    assert {"K-A", "A-K", "K-A@p'"} <= {ordering.name for ordering in study.orderings}


@pytest.mark.parametrize("name", ["mog/quick", *sorted(NANO | LARGE | REAL)])
def test_a_comparison_of_orderings_holds_the_control_of_the_reference(name: str) -> None:
    compares = "temperature" not in name  # those ask about A-K's last distillation alone
    assert ("K-A@p'" in {ordering.name for ordering in load_study(name).orderings}) == compares


def test_the_last_sharpness_is_taken_from_the_first_at_strong_anchors() -> None:
    study = load_study("mog/last-sharpness")
    assert study.grid == {"kl_weight": (2.0, 4.0), "last_teacher_sharpness": (10.0, 1.0)}
    assert {cell.factors["teacher_sharpness"] for cell in study.cells()} == {10.0}


@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        # four KL weights, twenty seeds; two sharpnesses of p'', and of the teacher of the last
        # students: at 1.25 and 10 as p'', or not sharpened
        ("mog/handover", {"A-DCKD": 80, "A-ADPA": 160, "A-ADPA+": 80, "others": 240}),
        ("llm/nano-handover", {"others": 16}),  # two algorithms, eight seeds
    ],
)
def test_a_handover_study_has_every_distillation_after_the_same_alignment(
    name: str, lengths: dict[str, int]
) -> None:
    study = load_study(name)
    finals: dict[str, set[str]] = {}
    for cell in study.cells():
        if aligned := cell.models.get("p_prime_aligned"):
            teacher = cell.models["final"].parents["teacher"]
            assert teacher.id == aligned.id
            finals.setdefault(cell.ordering.name, set()).add(cell.models["final"].id)
    asked = {name for ordering in study.orderings for name in ordering.distillations}
    assert asked | {FIRST} == set(NAMES)
    assert set(finals) == {o.name for o in study.orderings if o.steps == ("align", "distill")}
    assert {name: len(ids) for name, ids in finals.items()} == {
        name: lengths.get(name, lengths["others"]) for name in finals
    }


def test_the_handovers_of_a_language_model_are_those_of_the_trap_s_models() -> None:
    trap, handover = load_study("llm/nano-trap"), load_study("llm/nano-handover")
    assert {cell.id for cell in trap.cells()} < {cell.id for cell in handover.cells()}


def test_the_tuning_study_tries_half_and_twice_the_rate_of_both_sizes() -> None:
    study = load_study("mog/tuning")
    tried = (0.5, 1.0, 2.0)
    assert study.grid["p_prime_rate_factor"] == study.grid["student_rate_factor"] == tried
    assert {"K-A", "A-K", "K-A@p'"} == {ordering.name for ordering in study.orderings}


def test_the_language_studies_are_there() -> None:
    assert {name for name in named_studies() if name.startswith("llm/")} == NANO | LARGE | REAL


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NANO | LARGE))
def test_each_language_study_loads_with_both_orderings(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    assert {"K-A", "A-K"} <= {ordering.name for ordering in study.orderings}
    assert set(study.claims) <= {"C10", "C11", "C12", "C13", "C14"}
    large = name in LARGE
    assert (study.resources.gpus_per_trial > 0) == large
    assert isinstance(study.resources, LlmResources)
    assert (study.resources.zero_stage is not None) == large


@pytest.mark.parametrize("name", sorted(PAPER_OF))
def test_the_large_studies_hold_the_papers_table(name: str) -> None:
    study = load_study(f"llm/smollm2-{name}")
    assert len(study.seeds) == 3
    for cell in study.cells():
        found = {field: cell.factors[field] for field in {**PAPER, **PAPER_OF[name]}}
        assert found == {**PAPER, **PAPER_OF[name]}
    assert isinstance(study.resources, LlmResources)
    assert study.resources.of_stage("align").workers == 1  # of a minibatch of eight rows
    if name == "temperature":
        assert study.grid["last_distill_temperature"] == (0.925, 0.95, 0.975)


def test_the_published_schema_is_the_current_one() -> None:
    """Rewrite it with `recalltrap studies --schema > studies/study.schema.json`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # no test plugins
    command = [sys.executable, "-m", "recalltrap.cli.command_line", "studies", "--schema"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    published = (ROOT / "studies" / "study.schema.json").read_text()
    assert json.loads(done.stdout) == json.loads(published)


def test_studies_of_the_real_model_differ_in_the_reward_and_say_who_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where nobody made it
    common, rare = load_study("llm/real-check"), load_study("llm/real-rare")
    assert {**common.settings, "reward": "thanks"} == rare.settings
    folder = str(common.settings["p_prime"])
    assert "`make real-model` makes it" in str(unreachable(folder, "p_prime", "x", OSError("off")))
