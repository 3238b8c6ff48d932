"""`recalltrap show`: a study as a file that is the same study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from recalltrap.cli.command_line import main
from recalltrap.study.named_studies import load_study, named_studies

StudyFile = Callable[..., str]


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["show", *arguments])
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", list(named_studies()))
def test_what_is_shown_is_the_study(name: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(shown(name), encoding="utf-8")
    assert load_study(file) == load_study(name)


def test_overrides_are_in_it(study_file: StudyFile, tmp_path: Path) -> None:
    given = ("seeds={looks: [3, 5]}", "settings.iterations=7", "orderings=[K-A, A-K]", "margin=0.1")
    file = tmp_path / "shown.yaml"
    file.write_text(shown(study_file(), *(part for one in given for part in ("-o", one))))
    assert load_study(file) == load_study(study_file(), given)
    assert load_study(file).looks == (3, 5)
    assert load_study(file).settings == {"iterations": 7}


def test_a_wrong_study_is_refused(study_file: StudyFile) -> None:
    for arguments in (["toy/tinny"], [study_file(), "-o", "settings.iterations=0"]):
        done = CliRunner().invoke(main, ["show", *arguments])
        assert done.exit_code == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
