"""Files that no study can use: read no further than it takes to say so, and by the command line.

`tests/benchmarks/hostile_files.py` takes all of them through every command, with their cost.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from measured_commands import measured

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap.orderings import Ordering
from recalltrap.registry import registered
from recalltrap_studies.llm.first_look import check_files
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.preflight import check_sources
from recalltrap_studies.llm.rewards import functions
from recalltrap_studies.llm.settings import LlmSettings
from tests.studies.llm.hostile.case import Hostile
from tests.studies.llm.hostile.functions import FUNCTIONS
from tests.studies.llm.hostile.parquet import of_parquet
from tests.studies.llm.hostile.rows import every_row_file
from tests.studies.llm.hostile.studies import Models, every_file, study_of, write_study

LARGE = re.compile("200 MB|250 MB|100 MB|10 GB|25,000,000|50,001|terabyte|a link to itself")
"""They take a second, or room on the disk: the benchmark has them."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models.made(tmp_path_factory.mktemp("models"))


def check(settings: LlmSettings) -> None:
    """As the kind does where a study is planned."""
    check_files(settings)
    check_sources(settings)


def refusal(case: Hostile, folder: Path, models: Models) -> str:
    """What is said of a file where a study is planned, checked as a message."""
    case.make(folder / case.file)
    named = folder / case.file
    settings = LlmSettings.model_validate(study_of(case, named, models)["settings"])
    with pytest.raises(InputError) as refused:
        check(settings)
    said = str(refused.value)
    assert len(said.splitlines()) == 1, said
    assert len(said) < 2_000
    assert case.file in said
    assert re.search(case.says, said), said
    return said


ROWS = [case for case in (*every_row_file(), *of_parquet()) if not LARGE.search(case.name)]


@pytest.mark.slow
def test_every_file_of_rows_is_refused(tmp_path: Path, models: Models) -> None:
    for number, case in enumerate(ROWS):
        folder = tmp_path / str(number)
        folder.mkdir()
        refusal(case, folder, models)


@pytest.mark.slow
def test_every_folder_is_refused(tmp_path: Path, models: Models) -> None:
    found = [case for case in every_file(models) if case.setting in ("reward", "p_prime")]
    assert len(found) > 90
    for number, case in enumerate(found):
        folder = tmp_path / str(number)
        folder.mkdir()
        refusal(case, folder, models)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_cannot_be_had_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, says = FUNCTIONS[name]
    (tmp_path / f"hostile_{name}.py").write_text(source + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    point = registered(functions.GROUP)["length"]
    other = type(point)(f"hostile_{name}", f"hostile_{name}:reward", functions.GROUP)
    monkeypatch.setattr(functions, "registered", lambda group: {other.name: other})
    with pytest.raises(InputError, match=f"the reward 'hostile_{name}'.*{says}") as refused:
        functions.find_function.__wrapped__(other.name)
    assert len(str(refused.value).splitlines()) == 1
    sys.modules.pop(f"hostile_{name}", None)


def test_a_bad_file_is_refused_before_torch_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.jsonl").write_text("{")
    monkeypatch.setitem(sys.modules, "recalltrap_studies.llm.preflight", None)
    settings = {"prompts": str(tmp_path / "rows.jsonl")}
    with pytest.raises(InputError, match=r"rows\.jsonl', row 1: no JSON"):
        KIND.check([_cell(settings)])


TOLD_BY_FILES = re.compile(
    "(prompts|truth|preferences): longer than a context"
    "|(reward|p_prime): (no configuration|an empty conf|a configuration|a family that is a number"
    "|no family|a (negative )?size|no heads|a billion|a vocabulary of 10|a context of text"
    "|no tokenizer|an empty tok|a tokenizer|a width that heads|tensors of other names)"
    "|reward: (another family|architectures|two labels|labels|a context of four)"
    "|p_prime: a vocabulary of one"
)


@pytest.mark.slow
def test_what_a_models_files_tell_is_refused_before_torch_is_imported(
    tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "recalltrap_studies.llm.preflight", None)
    cases = [case for case in every_file(models) if TOLD_BY_FILES.match(case.name)]
    assert len(cases) > 45
    for number, case in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        case.make(folder / case.file)
        settings = study_of(case, folder / case.file, models)["settings"]
        with pytest.raises(InputError, match=case.file) as refused:
            check_files(LlmSettings.model_validate(settings))
        assert re.search(case.says, str(refused.value)), case.name


def _imported(by: str, *among: str) -> str:
    """Which of some modules an interpreter of its own has after a statement."""
    code = f"import sys; {by}; print(sorted({set(among)} & sys.modules.keys()))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_the_first_look_imports_neither_torch_nor_transformers() -> None:
    first = "from recalltrap_studies.llm import first_look"
    assert _imported(first, "torch", "transformers", "re") == "['re']\n"


def test_the_preflight_imports_no_model() -> None:
    """What models have in common takes as long as torch, and many folders are refused before."""
    preflight = "from recalltrap_studies.llm import preflight"
    heavy = ("transformers.modeling_utils", "transformers.activations", "torch._dynamo")
    assert _imported(preflight, "torch", *heavy) == "['torch']\n"


def _cell(settings: dict[str, str]) -> Cell:
    return KIND.cell(Ordering.model_validate("K-A"), LlmSettings.model_validate(settings), 0)


def test_a_file_that_is_too_large_is_not_hashed(tmp_path: Path) -> None:
    """A terabyte of nothing takes an hour."""
    for setting in ("prompts", "corpus", "truth"):
        path = tmp_path / setting
        with path.open("wb") as file:
            file.truncate(1 << 40)
        settings = {setting: str(path)}
        with pytest.raises(InputError, match="it holds more than"):
            KIND.check([_cell(settings)])


COMMANDS = {
    "a pipe": ["plan"], "the last of 50,001": ["run", "--local"],
    "cut off": ["submit", "--address", "http://127.0.0.1:9"],
}  # fmt: skip


def test_the_command_line_refuses_them(tmp_path: Path, models: Models) -> None:
    """Each in a process of its own, forked from one that has the libraries."""
    cases = {case.name.partition(": ")[2]: case for case in every_row_file()
             if case.setting == "truth"}  # fmt: skip
    studies = {n: write_study(cases[n], tmp_path / n, models) for n in COMMANDS}
    here = tmp_path / "here"
    here.mkdir()
    storage = tmp_path / "storage"
    asked = [[name, str(studies[n]), "--storage", str(storage), *options]
             for n, (name, *options) in COMMANDS.items()]  # fmt: skip
    for found in measured(asked, here, ["recalltrap.cli.commands"]):
        assert found.status == 2, found
        assert found.errors.startswith("recalltrap: settings.truth = "), found
        assert len(found.errors.splitlines()) == 1
        assert found.megabytes < 1000
        assert found.seconds < 5
    assert not storage.exists()
    assert not list(here.iterdir())
