"""The README is true: its Python runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from recalltrap.cli.command_line import main
from recalltrap.study.named_studies import load_study, named_studies
from recalltrap.study.yaml_text import read_yaml

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("*/README.md")]


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every `recalltrap ...` in the README's code blocks, comments removed, lines joined."""
    found = []
    for block in blocks(""):
        for command in re.findall(r"^recalltrap .*(?:\n {4,}.*)*", block, flags=re.MULTILINE):
            found.append(shlex.split(command, comments=True))
    return found


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(180)
def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALLTRAP_STORAGE", str(tmp_path / "runs"))
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(code, names)
    assert names["results"].table("cells").num_rows == 18  # type: ignore[attr-defined]
    assert len(names["frame"]) == names["results"].table("metrics").num_rows  # type: ignore
    assert len(names["grid"]) == 8  # type: ignore[arg-type]
    assert Path(str(names["page"])).is_file()
    assert (names["expected"]["state"] == "complete").all()  # type: ignore[index]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_commands_parse(command: list[str]) -> None:
    name, *arguments = command[1:]
    subcommand = main.commands[name]
    context = subcommand.make_context(name, arguments)  # raises on an unknown option
    for value in context.params.values():
        if isinstance(value, str) and value.startswith("mog/"):
            assert value in named_studies()


def test_there_are_commands_to_check() -> None:
    assert {command[1] for command in commands()} == set(main.commands)
    assert isinstance(main, click.Group)


def test_the_lines_of_a_study_file_are_understood() -> None:
    (text,) = blocks("yaml")
    study = load_study("mog/quick", read_yaml(text).content)
    assert (study.looks, study.margin, study.recall_budget) == ((5, 8, 12), 0.05, 2.0)
    assert study.primary is not None
    assert study.contrasts is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing
