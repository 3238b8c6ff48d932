"""The command as a user types it, and a study's own checks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recalltrap.cli.command_line import main
from recalltrap.errors import InputError
from recalltrap.registry import find_kind
from recalltrap.run.run import plan_unchecked
from recalltrap.store.storage import Storage
from recalltrap.study.named_studies import load_study
from recalltrap_cluster.doctor import study_checks

StudyFile = Callable[..., str]
MACHINE = ["python", "packages", "trainers", "deepspeed", "authentication", "memory", "GPU",
           "scratch", "storage", "clock"]  # fmt: skip
STUDY = ["models", "device", "stage memory", "placement"]


def doctor(*arguments: str) -> tuple[int, list[dict[str, str]], str]:
    done = CliRunner().invoke(main, ["doctor", *arguments, "--format", "json"])
    return done.exit_code, json.loads(done.stdout) if done.stdout else [], done.stderr


def test_a_machine(storage: str) -> None:
    status, rows, _ = doctor("--storage", storage)
    assert [row["check"] for row in rows] == MACHINE
    assert {row["state"] for row in rows} <= {"ok", "warning"}
    assert status == 0
    assert not Path(storage).exists()


def test_a_study(study_file: StudyFile, storage: str) -> None:
    status, rows, _ = doctor(study_file(), "--storage", storage)
    assert [row["check"] for row in rows] == MACHINE + STUDY
    assert status == 0
    assert not Path(storage).exists()


def test_a_study_that_fits_nowhere(study_file: StudyFile, storage: str) -> None:
    path = study_file(resources={"cpus_per_trial": 4096})
    status, rows, said = doctor(path, "--storage", storage)
    (found,) = [row for row in rows if row["state"] == "problem"]
    assert found["check"] == "placement"
    assert "4096 CPU on one node" in found["found"]
    assert "fit: -o resources.cpus_per_trial=" in found["found"]
    assert status == 1
    assert "1 of 14 checks found a problem" in said


def test_refused_input(storage: str) -> None:
    assert doctor("no/such-study")[0] == 2
    assert doctor("-o", "resources.workers=2")[0] == 2
    status, rows, _ = doctor("--address", "nonsense")
    assert status == 1
    assert [row["check"] for row in rows if row["state"] == "problem"] == ["authentication"]


@pytest.mark.slow
def test_the_checks_import_no_framework() -> None:
    """A few seconds in all: torch alone takes three."""
    code = (
        "import sys\nfrom recalltrap.store.storage import Storage\n"
        "from recalltrap_cluster.doctor.examination import examine\n"
        "list(examine(None, Storage('nowhere')))\n"
        "print([m for m in ('torch', 'ray', 'transformers', 'trl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def planned(study_file: StudyFile, storage: str) -> Any:
    return plan_unchecked(load_study(study_file()), Storage(storage))


class Strict:
    """A kind that sees another vocabulary."""

    def check(self, cells: Any) -> list[str]:
        raise InputError("settings.p_second: another vocabulary")


class Talkative:
    """A kind that has something to say of a study that is as it should be."""

    def check(self, cells: Any) -> list[str]:
        return ["p' is given"]

    def check_access(self, cells: Any) -> None:
        pass


def test_models(planned: Any) -> None:
    bad: Any = Strict()
    good: Any = Talkative()
    (found,) = study_checks.check_models(planned, bad)
    assert (found.state, "another vocabulary" in found.found) == ("problem", True)
    assert [each.state for each in study_checks.check_models(planned, good)] == ["ok", "ok"]


def test_devices_memory_and_placement(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = find_kind("mog")
    monkeypatch.setenv("RECALLTRAP_DEVICE", "nonsense")
    assert study_checks.check_device(kind).state == "problem"
    monkeypatch.setenv("RECALLTRAP_DEVICE", "cpu")
    assert study_checks.check_device(kind).state == "ok"
    short = study_checks.check_stage_memory(planned, kind, lambda *given: "sample needs 9 TB")
    assert (short.state, short.found) == ("problem", "sample needs 9 TB")
    assert study_checks.check_stage_memory(planned, kind, lambda *given: "").state == "ok"

    def unreachable(plan: Any, address: str) -> str:
        raise InputError("nothing answers")

    assert study_checks.check_placement(planned, "auto", unreachable).state == "problem"
    yes = study_checks.check_placement(planned, "auto", lambda plan, address: "yes, 4 at once")
    assert (yes.state, yes.found) == ("ok", "4 at once at auto")
