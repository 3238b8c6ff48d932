"""What is installed, well and badly."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from recalltrap_cluster.doctor.installation import (
    check_deepspeed,
    check_python,
    check_trainers,
    check_versions,
)


def test_python() -> None:
    assert check_python().state == "ok"
    assert check_python((3, 10)).state == "problem"


def versions(name: str) -> str:
    known = {"torch": "2.13.0+cpu", "trl": "1.2", "ray": "2.60.0"}
    if name not in known:
        raise metadata.PackageNotFoundError(name)
    return known[name]


@pytest.mark.parametrize(
    ("required", "said"),
    [
        (["torch>=2.6", "ray[tune]>=2.55"], "2 as required: torch 2.13.0"),
        (["torch>=2.6", "trl>=1.10"], "trl 1.2 is not >=1.10"),
        (["peft>=1"], "peft is missing (>=1)"),
        (["peft>=1; extra == 'dev'", "peft>=1; sys_platform == 'nowhere'"], "0 as required"),
    ],
)
def test_versions(required: list[str], said: str) -> None:
    found = check_versions(required, versions)
    assert said in found.found
    assert found.state == ("ok" if "as required" in said else "problem")
    assert bool(found.advice) is (found.state != "ok")


def test_this_installation_is_as_it_should_be() -> None:
    assert check_versions().state == "ok"
    assert check_trainers().state == "ok", "a trainer has moved: the doctor's list names it"


def test_the_names_that_the_doctor_knows_are_those_that_are_imported() -> None:
    sources = (Path(__file__).parents[3] / "studies").rglob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    for module, name in (
        ("trl.trainer.sft_trainer", "SFTTrainer"), ("trl.trainer.sft_config", "SFTConfig"),
        ("trl.models.utils", "unwrap_model_for_generation"),
    ):  # fmt: skip
        assert f"from {module} import {name}" in text


def test_a_trainer_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "trl").mkdir()
    (tmp_path / "trl" / "gone.py").write_text("class PPOTrainerOld:\n    pass\n")
    names = {"trl.gone.PPOTrainer": ("trl", "class PPOTrainer")}
    found = check_trainers(names, lambda distribution, file: tmp_path / file)
    assert (found.state, found.found) == ("problem", "missing: trl.gone.PPOTrainer")
    (tmp_path / "trl" / "gone.py").write_text("class PPOTrainer(Trainer):\n    pass\n")
    assert check_trainers(names, lambda distribution, file: tmp_path / file).state == "ok"


@pytest.mark.parametrize(
    ("wanted", "gpus", "installed", "compiler", "state"),
    [
        (True, 0, "0.19", "", "ok"),
        (False, 0, "", "", "warning"),
        (True, 0, "", "/usr/bin/c++", "problem"),
        (True, 1, "0.19", "", "problem"),
        (False, 1, "0.19", "", "warning"),
        (True, 1, "0.19", "/usr/bin/c++", "ok"),
    ],
)
def test_deepspeed(
    wanted: bool, gpus: int, installed: str, compiler: str, state: str, tmp_path: Path
) -> None:
    op = tmp_path / "py311_cu128" / "fused_adam"
    op.mkdir(parents=True)
    (op / "fused_adam.so").touch()
    found = check_deepspeed(
        wanted=wanted, gpus=gpus, installed=installed, compiler=compiler, extensions=tmp_path
    )
    assert found.state == state
    if gpus:
        assert "built so far: fused_adam" in found.found
