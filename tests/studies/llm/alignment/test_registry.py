"""Algorithms' records: one line registers an algorithm, and half a record is refused by `plan`."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import recalltrap_studies.llm
from recalltrap.errors import InputError
from recalltrap.study.named_studies import load_study
from recalltrap_studies.llm.alignment import registry
from recalltrap_studies.llm.alignment.registry import ALGORITHMS, Algorithm, find_algorithm
from recalltrap_studies.llm.distillation.registry import DISTILLATIONS
from recalltrap_studies.llm.settings import LlmSettings, algorithm_of
from recalltrap_studies.llm.stage_settings import Alignment
from recalltrap_studies.llm.stages.registry import STAGES
from recalltrap_studies.records import LateImport

LLM = Path(recalltrap_studies.llm.__file__).parent


@pytest.mark.parametrize("record", ALGORITHMS.values(), ids=ALGORITHMS)
def test_every_record_is_complete_and_its_trainer_can_be_imported(record: Algorithm) -> None:
    assert find_algorithm(record.name) is record
    assert record.trainer is not None
    record.trainer.load()


@pytest.mark.parametrize("record", ALGORITHMS.values(), ids=ALGORITHMS)
def test_what_is_learned_is_drawn(record: Algorithm) -> None:
    settings = algorithm_of(LlmSettings.model_validate({"algorithm": record.name}))
    part = settings.part.model_validate({"algorithm": record.name})
    passes = record.passes(part)
    updates = part.iterations * record.updates_of(part)
    assert passes.learned == updates * part.minibatch_size * record.responses
    drawn = part.iterations * part.rollout_size
    assert passes.drawn == drawn if record.fixed_set is None else passes.drawn > 0
    if record.trainer_class().scored:  # a rollout once more through the policy
        assert passes.by_policy == passes.drawn


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"settings": None}, "no settings"),
        ({"trainer": None}, "no trainer"),
        ({"updates": None}, r"no updates \(for its cost\)"),
        ({"selected_by": None}, "no selected_by"),
        ({"trainer": LateImport("recalltrap_studies.llm.kot:KotTrainer")}, "no module .*kot"),
        (
            {"trainer": LateImport("recalltrap_studies.llm.alignment.ppo:KotTrainer")},
            "no KotTrainer in .*ppo",
        ),
    ],
)
def test_half_a_record_is_refused_with_what_is_missing(
    change: dict[str, Any], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = replace(ALGORITHMS["rloo"], **change)
    monkeypatch.setitem(registry.ALGORITHMS, "rloo", half)
    with pytest.raises(InputError, match=f"algorithm 'rloo' is not wholly registered: {missing}"):
        LlmSettings(algorithm="rloo")


def test_settings_that_the_study_does_not_hold_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Foreign(Alignment):
        pass

    settings = LlmSettings(algorithm="rloo")
    monkeypatch.setitem(registry.ALGORITHMS, "rloo", replace(ALGORITHMS["rloo"], settings=Foreign))
    with pytest.raises(InputError, match=r"'rloo' .*: its settings Foreign are not among"):
        algorithm_of(settings)


REGISTER = """
import sys
from pydantic import Field
from recalltrap_studies.llm.alignment.registry import ALGORITHMS, Algorithm
from recalltrap_studies.llm.distillation.registry import DISTILLATIONS, Distillation
from recalltrap_studies.llm.stage_settings import Alignment, Distill
from recalltrap_studies.records import LateImport


class Newer(Alignment):
    newness: float = Field(0.5, description="How new.")


class Warmer(Distill):
    warmth: float = Field(0.5, description="How warm.")


{line}
import json
from click.testing import CliRunner
from recalltrap.cli.command_line import main
from recalltrap.study.named_studies import load_study

said = [CliRunner().invoke(main, words) for words in json.loads(sys.argv[1])]
cells = load_study("llm/nano", ["seeds=1"]).cells()
print(json.dumps([
    [(done.exit_code, done.stdout, done.stderr) for done in said],
    [cell.id for cell in cells],
    sorted({{node.id for cell in cells for node in cell.nodes}}),
]))
"""
WHOLE = """ALGORITHMS["newer"] = Algorithm(
    "newer", settings=Newer, selected_by="reward", updates=lambda settings: 1,
    trainer=LateImport("recalltrap_studies.llm.alignment.ppo:PpoTrainer"),
)"""
HALF = 'ALGORITHMS["newer"] = Algorithm("newer", settings=Newer, selected_by="reward")'
DISTILLATION = """DISTILLATIONS["warmer"] = Distillation(
    "warmer", settings=Warmer, run=LateImport("recalltrap_studies.llm.stages.train:run_train"),
)"""


class Said(NamedTuple):
    code: int
    stdout: str
    stderr: str


def commands(line: str, *words: list[str], folder: Path) -> tuple[list[Said], list[Any]]:
    """Commands where a registry has one line more, and the ids of a study's cells and artifacts."""
    done = subprocess.run(
        [sys.executable, "-c", REGISTER.format(line=line), json.dumps(words)],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said, *ids = json.loads(done.stdout)
    return [Said(*one) for one in said], ids


def plan(*settings: str) -> list[str]:
    chosen = [word for setting in settings for word in ("-o", f"settings.{setting}")]
    return ["plan", "llm/nano", "-o", "seeds=1", "--format", "json", *chosen]


@pytest.mark.slow
def test_one_line_registers_an_algorithm(tmp_path: Path) -> None:
    (planned, schema, other), _ = commands(
        WHOLE,
        plan("algorithm=newer", "newness=0.7"),
        ["studies", "--schema"],
        plan("algorithm=ppo", "newness=0.7"),
        folder=tmp_path,
    )
    assert planned.code == 0, planned.stderr
    rows = {row["what"]: row["value"] for row in json.loads(planned.stdout)}
    assert rows["cells to do"] > 0
    assert '"newer"' in schema.stdout
    assert '"newness"' in schema.stdout
    assert other.code == 2
    assert "ppo doesn't read newness" in other.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "says"), [("", "newer"), (HALF, "no trainer, no updates (for its cost)")]
)
def test_a_forgotten_line_is_refused_by_plan(line: str, says: str, tmp_path: Path) -> None:
    (planned,), _ = commands(line, plan("algorithm=newer"), folder=tmp_path)
    assert planned.code == 2
    assert says in planned.stderr


@pytest.mark.slow
def test_one_line_registers_a_distillation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="distillation"):
        load_study("llm/nano", ["settings.distillation=warmer"])
    (planned, other), ids = commands(
        DISTILLATION,
        plan("distillation=warmer", "warmth=0.7"),
        plan("warmth=0.7"),
        folder=tmp_path,
    )
    assert planned.code == 0, planned.stderr
    assert other.code == 2
    assert "distillation = sequence doesn't read warmth" in other.stderr
    cells = load_study("llm/nano", ["seeds=1"]).cells()
    nodes = sorted({node.id for cell in cells for node in cell.nodes})
    assert ids == [[cell.id for cell in cells], nodes], "what was made before keeps its name"


def compared_strings(path: Path) -> set[str]:
    """The strings that a module compares something with, or matches the beginning of."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        asked: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            asked = [node]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asked = list(node.args) if node.func.attr in ("startswith", "endswith") else []
        for part in asked:
            found |= {
                n.value
                for n in ast.walk(part)
                if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
    return found


@pytest.mark.parametrize(
    "path", sorted(LLM.rglob("*.py")), ids=lambda path: str(path.relative_to(LLM))
)
def test_no_module_asks_for_an_algorithm_or_a_stage_by_name(path: Path) -> None:
    names = {*ALGORITHMS, *STAGES, *DISTILLATIONS}
    strings = compared_strings(path) - {""}
    assert not {s for s in strings if s in names or any(n.startswith(s) for n in ALGORITHMS)}
