"""`rt.check` and `recalltrap check`: what is wrong is refused before anything is built, and a kind
of somebody else's is checked as soon as its analysis keeps samples."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from toy_check import checkable_record

import recalltrap as rt
from recalltrap.cli.command_line import main
from recalltrap_analysis.check import references

StudyFile = Callable[..., str]


@pytest.fixture
def checkable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "record_of", lambda name: checkable_record())


@pytest.mark.usefixtures("checkable")
def test_a_check_builds_references_alone_says_one_sentence_and_writes_its_page(
    study_file: StudyFile, storage: str
) -> None:
    told: list[str] = []
    found = rt.check(study_file(), seeds=3, storage=storage, local=True, tell=told.append)
    assert told == ["building 6 references ..."]
    assert sorted(os.listdir(f"{storage}/artifacts")) == ["distill", "sft"]
    assert found.word == "keep p' as the reference"
    assert str(found).startswith(found.sentence)
    assert found.sentence.startswith("Keep p' as the reference")
    assert found.frame()["kl_weight"].tolist() == [0.5, 2.0]
    assert os.path.exists(found.page)
    assert dict(found.costs)["cells"] == f"{rt.plan(study_file(), seeds=3).cells} to do"
    assert "Check of toy/test" in found._repr_html_()
    again = rt.check(study_file(), seeds=3, storage=storage, tell=told.append)
    assert len(told) == 1, "nothing is built twice, and Ray isn't started for nothing"
    assert again.json == found.json
    with pytest.raises(rt.InputError):
        rt.open_run("toy/test", storage)  # a check is no run


@pytest.mark.usefixtures("checkable")
@pytest.mark.slow
def test_the_command_says_the_sentence_first_and_ten_rows_at_most(
    study_file: StudyFile, storage: str
) -> None:
    weights = [0.25 * n for n in range(1, 13)]
    study = study_file(grid={"kl_weight": weights}, seeds=2)
    command = ["check", study, "--local", "--storage", storage]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    first, blank, head, *rest = done.stdout.splitlines()
    assert first.startswith("Keep p' as the reference")
    assert (blank, head.split()[0]) == ("", "kl_weight")
    assert rest.index("") == 10
    assert "10 of 12 grid points; the page has all" in done.stdout
    assert "the rest of the study would take" in done.stdout
    as_json = CliRunner().invoke(main, [*command, "--format", "json"])
    assert len(json.loads(as_json.stdout)["check"]["points"]) == 12


def test_what_can_t_be_checked_is_refused_before_anything_is_built(
    study_file: StudyFile, storage: str
) -> None:
    with pytest.raises(rt.InputError, match="can't be checked: they keep no samples"):
        rt.check(study_file(), storage=storage, local=True)
    with pytest.raises(rt.InputError, match="no such argument or field"):
        rt.check(study_file(), storage=storage, sed=3)  # type: ignore[call-arg]
    assert not os.path.exists(storage)


@pytest.mark.usefixtures("checkable")
def test_where_no_reference_can_be_built_the_reason_is_given(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toy_kind import KIND

    def broken(self: object, nodes: object, store: object) -> object:
        raise ValueError("no such luck")

    monkeypatch.setattr(type(KIND), "build", broken)
    with pytest.raises(rt.StageError, match=r"no references could be built: .*no such luck"):
        rt.check(study_file(), storage=storage, local=True)
