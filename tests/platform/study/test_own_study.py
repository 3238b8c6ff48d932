"""`recalltrap new`: a file to start from, never one that was there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from toy_kind import KIND

from recalltrap.cli.command_line import main
from recalltrap.errors import InputError
from recalltrap.study.own_study import kinds_with_templates, write_own_study


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [("mine", "mine.yaml"), ("team/mine.2", "mine.2.yaml"), ("mine.yaml", "mine.yaml")],
)
def test_the_file_is_called_after_the_study(name: str, file: str) -> None:
    done = CliRunner().invoke(main, ["new", name])
    assert done.exit_code == 0, done.output
    assert f"wrote {file}" in done.stdout
    assert [path.name for path in Path.cwd().iterdir()] == [file]
    assert f"name: {name.removesuffix('.yaml')} " in Path(file).read_text()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    Path("mine.yaml").write_text("precious")
    done = CliRunner().invoke(main, ["new", "mine"])
    assert done.exit_code == 2
    assert "mine.yaml is there already and stays as it is: give another name" in done.stderr
    assert Path("mine.yaml").read_text() == "precious"
    Path("loose.yaml").symlink_to(tmp_path / "nowhere")
    assert CliRunner().invoke(main, ["new", "loose"]).exit_code == 2
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "name", ["", "../x", "/tmp/x", "a b", "-x", "x/", "x" * 300, "a/b/c/d/e/f"]
)
def test_a_name_that_no_study_can_have(name: str) -> None:
    done = CliRunner().invoke(main, ["new", "--", name])
    assert done.exit_code == 2
    assert "can't name a folder of results" in done.stderr
    assert not list(Path.cwd().iterdir())


def test_a_kind_without_a_template() -> None:
    assert KIND.name not in kinds_with_templates()
    with pytest.raises(InputError, match="'toy': it brings no study file"):
        write_own_study("mine", "toy")
    with pytest.raises(InputError, match="unknown kind of study 'lm'; did you mean 'llm'"):
        write_own_study("mine", "lm")
    assert not list(Path.cwd().iterdir())
