"""What may be asked for, of all stages and of one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from recalltrap.errors import InputError
from recalltrap.resources import Resources
from recalltrap.study.named_studies import load_study
from recalltrap_studies.llm.resources import LlmResources


def test_a_stage_has_its_own_fields_and_those_of_all() -> None:
    resources = LlmResources(
        cpus_per_trial=2, labels={"market": "spot"}, zero_stage=2,
        stages={"sample": {"workers": 4, "gpus_per_trial": 1, "accelerator_type": "H100"}},
    )  # fmt: skip
    sample = resources.of_stage("sample")
    assert (sample.workers, sample.gpus_per_trial, sample.cpus_per_trial) == (4, 1, 2)
    assert (sample.accelerator_type, sample.labels) == ("H100", {"market": "spot"})
    assert isinstance(sample, LlmResources)
    assert sample.zero_stage == 2
    assert resources.of_stage("align").workers == resources.of_stage(None).workers == 1
    assert resources.uses_gpus
    assert not LlmResources(stages={"sample": {"workers": 4}}).uses_gpus


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"accelerator_type": "H100"}, "gpus_per_trial = 0: ask for a GPU"),
        ({"accelerator_type": "", "gpus_per_trial": 1}, "pattern"),
        ({"custom": {"GPU": 1}}, r"'GPU' is asked for by resources\.gpus_per_trial"),
        ({"custom": {"accelerator_type:H100": 1}}, r"resources\.accelerator_type"),
        ({"custom": {"memory": 1}}, "names no custom resource"),
        ({"custom": {"a b": 1}}, "names no custom resource"),
        ({"custom": {"license": 0}}, "more than nothing"),
        ({"custom": {"license": 1.5}}, "1.5 license: give a share"),
        ({"labels": {"zone": "a b"}}, "'a b' selects no label"),
        ({"labels": {"zone": "in()"}}, "selects no label"),
        ({"labels": {"-": "a"}}, "names no label"),
        ({"stages": {"sample": {"wrokers": 2}}}, r"stages\.sample: 'wrokers'.*'workers'"),
        ({"stages": {"sample": {"stages": {}}}}, "allowed|did you mean"),
        ({"stages": {"sample": {"max_retries": 2}}}, "max_retries"),
        ({"stages": {"sample": {"workers": 0}}}, r"stages\.sample\.workers.*greater than"),
        ({"stages": {"sample": {"workers": True}}}, r"stages\.sample\.workers.*valid integer"),
        ({"stages": {"sample": {"accelerator_type": "H100"}}}, "ask for a GPU"),
    ],
)
def test_what_no_cluster_gives_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Resources.model_validate(given)


@pytest.mark.parametrize("selector", ["spot", "!spot", "in(a,b)", "!in(a, b.c)", "in(a)"])
def test_selectors_are_rays(selector: str) -> None:
    from ray._private.label_utils import validate_label_selector

    assert validate_label_selector({"ray.io/market-type": selector}) is None
    Resources(labels={"ray.io/market-type": selector})


def test_the_command_line_sets_them_and_study_yaml_keeps_them() -> None:
    study = load_study(
        "llm/nano",
        ["resources.stages.sample.workers=2", "resources.labels={ray.io/market-type: spot}",
         "resources.custom.license=1"],
    )  # fmt: skip
    assert study.resources.of_stage("sample").workers == 2
    assert type(study).model_validate(study.content()).resources == study.resources
    with pytest.raises(InputError, match=r"-o resources\.stages\.sample\.zero_stage=true.*write 1"):
        load_study("llm/nano", ["resources.stages.sample.zero_stage=true"])
