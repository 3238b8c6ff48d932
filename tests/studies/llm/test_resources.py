"""What a language study can ask for, and a mixture study can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from recalltrap.errors import InputError
from recalltrap.resources import Resources
from recalltrap.results.results import Results
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study
from recalltrap_studies.llm.resources import LlmResources, resources_of


def test_a_study_has_the_fields_of_its_kind() -> None:
    study = load_study("llm/nano", ["resources.zero_stage=2", "resources.workers=2"])
    assert study.resources == LlmResources(zero_stage=2, workers=2)
    again = Study.model_validate(study.content())
    assert again.resources == study.resources, "nothing is lost in the run's study.yaml"
    assert type(load_study("mog/quick").resources) is Resources


@pytest.mark.parametrize(
    ("study", "value", "expected"),
    [
        ("llm/nano", "zero_stage=4", "1, 2 or 3"),
        ("llm/nano", "zero_stage=true", "write 1"),
        ("llm/nano", "gradient_accumulation=0", "greater than or equal to 1"),
        ("mog/quick", "zero_stage=2", "unknown field"),
        ("mog/quick", "gradient_checkpointing=true", "unknown field"),
    ],
)
def test_what_a_kind_cannot_ask_for_is_refused(study: str, value: str, expected: str) -> None:
    with pytest.raises(InputError, match=rf"resources\.{value.split('=')[0]}.*{expected}"):
        load_study(study, [f"resources.{value}"])


def test_a_run_of_an_earlier_version_is_read_though_it_had_all_fields(tmp_path: Path) -> None:
    folder = tmp_path / "studies/mog/quick"
    folder.mkdir(parents=True)
    text = load_study("mog/quick").to_yaml()
    assert "max_retries: 1\n" in text
    (folder / "study.yaml").write_text(text.replace("max_retries: 1\n", "zero_stage: null\n"))
    results = Results(Storage(str(tmp_path)), "studies/mog/quick")
    assert results.study.resources == Resources()


def test_a_group_that_was_given_nothing_has_the_defaults() -> None:
    assert resources_of(WorkerGroup()) == LlmResources()
    given = LlmResources(gradient_accumulation=4)
    assert resources_of(WorkerGroup(resources=given)) is given
