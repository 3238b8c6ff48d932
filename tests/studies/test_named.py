"""The named studies are what the README and the paper's figures ask for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recalltrap.library import load_study, named_studies
from recalltrap.study import CLAIMS

ROOT = Path(__file__).parents[2]
EXPECTED = {
    f"mog/{name}"
    for name in [
        "quick",
        "figure1",
        "figure2",
        "ppo-beta",
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
        "phase",
    ]
}


def test_none_is_missing() -> None:
    assert {name for name in named_studies() if name.startswith("mog/")} == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_loads_under_its_own_name_with_its_seeds_and_claims(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    assert study.question.endswith("?")
    assert set(study.claims) <= set(CLAIMS)
    assert study.claims
    if name != "mog/quick":
        assert study.seeds == tuple(range(20))


def test_beta_kd_is_studied_at_both_of_the_papers_values_and_never_mixed() -> None:
    for name in ("ppo-beta", "grpo-beta", "dpo-beta", "dpo-offline-beta", "figure1"):
        assert load_study(f"mog/{name}").grid["teacher_sharpness"] == (1.25, 10.0)


def test_the_published_schema_is_the_current_one() -> None:
    """Rewrite it with `recalltrap studies --schema > studies/study.schema.json`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # no test plugins
    command = [sys.executable, "-m", "recalltrap.cli", "studies", "--schema"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    published = (ROOT / "studies" / "study.schema.json").read_text()
    assert json.loads(done.stdout) == json.loads(published)
