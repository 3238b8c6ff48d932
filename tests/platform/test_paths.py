"""Every way to write a path means what a shell would take it for, wherever a path is given."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recalltrap as rt
from recalltrap.defaults import STORAGE_VARIABLE, storage_location
from recalltrap.errors import InputError
from recalltrap.paths import expand, resolve
from recalltrap.store.storage import Storage

StudyFile = Callable[..., str]
ME = pwd.getpwuid(os.getuid())


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder is `home`, the working directory `here`."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("~", "{tmp}/home"),
        ("~/rt", "{tmp}/home/rt"),
        ("./~", "{tmp}/here/~"),
        ("a~", "{tmp}/here/a~"),
        ("rt", "{tmp}/here/rt"),
        ("rt/", "{tmp}/here/rt"),
        ("../rt", "{tmp}/rt"),
        ("{tmp}/rt", "{tmp}/rt"),
        ("file://{tmp}/rt", "{tmp}/rt"),
        ("file:{tmp}/rt", "{tmp}/rt"),
        ("FILE://localhost{tmp}/rt", "{tmp}/rt"),
        ("file://{tmp}/a%20b%3Fc", "{tmp}/a b?c"),
        ("file://{tmp}/rt?use_mmap=true#x", "{tmp}/rt"),
        ("file://~/rt", "{tmp}/home/rt"),
        ("file:///~/rt", "{tmp}/home/rt"),
        ("what?", "{tmp}/here/what?"),
        ("50$", "{tmp}/here/50$"),
        (Path("rt"), "{tmp}/here/rt"),
        (Path("~/rt"), "{tmp}/home/rt"),
        (np.str_("~/rt"), "{tmp}/home/rt"),
        (f"~{ME.pw_name}/rt", f"{ME.pw_dir}/rt"),
        ("s3://bucket/~/$x?region=y", "s3://bucket/~/$x?region=y"),
    ],
)
def test_paths_are_read_as_a_shell_reads_them(given: Any, path: str, tmp_path: Path) -> None:
    if isinstance(given, str):
        given = type(given)(given.replace("{tmp}", str(tmp_path)))
    found = resolve(given, "x")
    assert found == os.path.normpath(path.replace("{tmp}", str(tmp_path))) or found == path
    assert type(found) is str
    assert resolve(found, "x") == found
    assert resolve(expand(given, "x"), "x") == found


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("~nobody-of-that-name/rt", "no such user"),
        ("$HOME/rt", r"\$HOME is not replaced"),
        ("a/${X}/rt", r"\$\{X\} is not replaced"),
        ("file://elsewhere/rt", "file:///home/me/runs"),
        ("file://", "file:///home/me/runs"),
        ("file:rt", "file:///home/me/runs"),
        ("", "empty"),
        (" ", "empty"),
        ("a\0b", "NUL"),
        (b"rt", "a bytes is no path"),
        (7, "a int is no path"),
        (None, "a NoneType is no path"),
        (Path("s3://bucket/rt"), "give it as a str"),
    ],
)
def test_what_is_no_path_is_refused_by_name(given: Any, reason: str) -> None:
    with pytest.raises(InputError, match=rf"--storage.*{reason}") as caught:
        resolve(given, "--storage")
    assert "\n" not in str(caught.value)
    assert os.listdir(".") == []


def test_a_folder_that_is_called_like_a_variable_is_one() -> None:
    os.mkdir("$HOME")
    assert resolve("$HOME", "x") == os.path.abspath("$HOME")


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    os.rmdir(tmp_path / "here")
    with pytest.raises(InputError, match="the working directory is gone"):
        resolve("rt", "--storage")


def test_the_storage_is_the_one_given_else_the_variables_else_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert storage_location(None) == str(tmp_path / "here/runs")
    monkeypatch.setenv(STORAGE_VARIABLE, "")
    assert storage_location(None) == str(tmp_path / "here/runs")
    monkeypatch.setenv(STORAGE_VARIABLE, "~/rt")
    assert storage_location(None) == str(tmp_path / "home/rt")
    assert storage_location(Path("x")) == str(tmp_path / "here/x")
    with pytest.raises(InputError, match="--storage = '': it is empty"):
        storage_location("")
    monkeypatch.setenv(STORAGE_VARIABLE, "~nobody-of-that-name")
    with pytest.raises(InputError, match=f"{STORAGE_VARIABLE} = "):
        storage_location(None)


@pytest.mark.slow
def test_one_run_by_all_the_names_of_its_study_its_storage_and_itself(
    study_file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_file(seeds=1, grid=None)
    home = tmp_path / "home"
    os.rename(study, home / "study.yaml")
    rt.run("~/study.yaml", storage="~/rt", local=True)
    assert not os.listdir(tmp_path / "here")
    for name in (home / "study.yaml", f"file://{home}/study.yaml", "../home/study.yaml"):
        for storage in (home / "rt", f"file://{home}/rt", "../home/rt"):
            before = sorted(home.rglob("*.parquet"))
            rt.run(name, storage=storage, local=True)
            assert sorted(home.rglob("*.parquet")) == before, "nothing was left to do"
    run = home / "rt/studies/toy/test"
    os.symlink(home / "rt", tmp_path / "here/link")
    names: list[str | Path] = [
        run,
        str(run),
        "~/rt/studies/toy/test/",
        f"file://{run}",
        "link/studies/toy/test",
    ]
    for one in names:
        assert rt.open_run(one).sql("select count(*) as n from cells")["n"].to_pylist() == [2]
    monkeypatch.setenv(STORAGE_VARIABLE, f"file://{home}/rt")
    assert rt.open_run("toy/test").folder == str(run)
    assert rt.open_run(Path("toy/test")).folder == str(run)


def test_storages_know_their_folders_and_what_is_around_them(tmp_path: Path) -> None:
    uri = Storage("s3://bucket/a/b?region=x")
    assert uri.at("c/d").location == "s3://bucket/a/b/c/d?region=x"
    assert uri.parent is not None
    assert (uri.name, uri.parent.location) == ("b", "s3://bucket/a?region=x")
    local: Storage | None = Storage(tmp_path / "x?y")
    assert local is not None
    assert local.at("z").location == f"{tmp_path}/x?y/z"
    steps = 0
    while local is not None:
        local, steps = local.parent, steps + 1
    assert steps == len(tmp_path.parts) + 1
