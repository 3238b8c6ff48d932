"""The settings model refuses what makes no sense, and every field is read by some stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import recalltrap_studies.mog
from recalltrap.settings_parts import Part, part_config
from recalltrap_studies.last_start import LastStart
from recalltrap_studies.mog.alignment.registry import ALGORITHMS, Ppo
from recalltrap_studies.mog.distillation.registry import DISTILLATIONS
from recalltrap_studies.mog.settings import MogSettings
from recalltrap_studies.mog.stage_settings import Evaluate, Sft
from recalltrap_studies.rate_factors import RateFactors


@pytest.mark.parametrize(
    ("fields", "part_of_message"),
    [
        ({"targets": [8]}, "numbered 0 to 7"),
        ({"targets": [7, 7]}, "names a mode twice"),
        ({"targets": []}, "at least 1"),
        ({"kl_weight": 0.0}, "greater than or equal to 0.000000001"),
        ({"kl_weight": float("inf")}, "finite"),
        ({"iterations": 0}, "greater than or equal to 1"),
        ({"adam_beta2": 1.0}, "less than or equal to 0.999999"),
        ({"preference_noise": 0.6}, "less than or equal to 0.5"),
        ({"algorithm": "dpo_offline", "offline_pairs": 1}, "greater than or equal to 2"),
        ({"evaluation_samples": 4096}, "Extra inputs"),
        ({"algoritm": "ppo"}, "Extra inputs"),
        ({"algorithm": "reinforce"}, "'ppo', 'grpo'"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, Any], part_of_message: str) -> None:
    with pytest.raises(ValidationError, match=part_of_message):
        MogSettings.model_validate(fields)


def test_settings_are_flat_frozen_and_default() -> None:
    settings = MogSettings()
    assert settings.targets == (7,)
    values = settings.model_dump(mode="json").values()
    assert all(isinstance(value, float | int | str | list | None) for value in values)
    with pytest.raises(ValidationError, match="frozen"):
        settings.kl_weight = 2.0  # type: ignore[misc]


def test_every_field_belongs_to_a_stage_and_says_whose_choice_it_is() -> None:
    records = (*DISTILLATIONS.values(), *ALGORITHMS.values())
    parts: list[type[Part]] = [Sft, Evaluate, *(record.settings for record in records)]
    owned = {name for part in parts for name in part.model_fields}
    # which of two sharpnesses and starts a distillation has, and of two rates an alignment, is the
    # ordering's business
    orderings = {
        "last_teacher_sharpness", *LastStart.model_fields, *RateFactors.model_fields
    }  # fmt: skip
    assert owned | orderings == set(MogSettings.model_fields)
    assert all(field.description for field in MogSettings.model_fields.values())


def test_no_field_is_dead() -> None:
    folder = Path(recalltrap_studies.mog.__file__).parent
    shared = folder.parent / "rate_factors.py"
    code = "\n".join(p.read_text() for p in [shared, *folder.rglob("*.py")] if p.name != "parts.py")
    assert not [n for n in MogSettings.model_fields if f".{n}" not in code and f'"{n}"' not in code]


def test_an_alignment_holds_only_its_own_fields() -> None:
    ppo = part_config(MogSettings(), Ppo)
    assert "clip_range" in ppo
    assert not {"kl_estimator", "preference_noise", "teacher_sharpness", "variance"} & set(ppo)
