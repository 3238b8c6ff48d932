"""What travels with a job: the files that a study names, so that its cells stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recalltrap.errors import InputError
from recalltrap.store.storage import Storage
from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study
from recalltrap_cluster.jobs import shipment
from recalltrap_cluster.jobs.shipment import named_contents, pack_study


def corpora(folder: Path) -> list[str]:
    paths = [folder / f"{name}.txt" for name in ("one", "two")]
    for path in paths:
        path.write_text(f"the text of {path.stem}\n" * 9)
    return [str(path) for path in paths]


def study_of(**fields: Any) -> Study:
    return load_study(
        {"name": "llm/mine", "kind": "llm", "question": "?", "orderings": ["K-A"], "seeds": 1}
        | fields
    )


@pytest.fixture
def away(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_a_shipped_study_has_the_same_cells_elsewhere(
    tmp_path: Path, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = corpora(tmp_path)
    study = study_of(grid={"corpus": paths, "iterations": [5, 6]})
    pack_study(study, study.cells(), Storage(tmp_path / "runs"), away)
    for path in paths:
        Path(path).unlink()
    monkeypatch.chdir(away)
    shipped = load_study("study.yaml")
    assert [cell.id for cell in shipped.cells()] == [cell.id for cell in study.cells()]
    assert not [str(tmp_path) for path in shipped.grid["corpus"] if str(tmp_path) in path]
    named = named_contents(shipped.cells())
    assert all(Path(content.path).is_relative_to(away) for content in named.values())
    assert len(named) == 2


def test_files_of_one_name_dont_meet(tmp_path: Path, away: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "text.txt").write_text(f"the text of {name}\n")
    paths = [str(tmp_path / name / "text.txt") for name in "ab"]
    study = study_of(grid={"corpus": paths})
    pack_study(study, study.cells(), Storage(tmp_path / "runs"), away)
    texts = sorted(path.read_text() for path in away.glob("inputs/*/text.txt"))
    assert texts == ["the text of a\n", "the text of b\n"]


def test_what_lies_in_the_storage_stays_there(tmp_path: Path, away: Path) -> None:
    (tmp_path / "runs").mkdir()
    paths = corpora(tmp_path / "runs")
    study = study_of(settings={"corpus": paths[0]})
    pack_study(study, study.cells(), Storage(tmp_path / "runs"), away)
    assert [path.name for path in away.iterdir()] == ["study.yaml"]
    assert load_study(away / "study.yaml").settings["corpus"] == paths[0]


def test_a_sibling_that_begins_alike_is_not_in_the_storage(tmp_path: Path, away: Path) -> None:
    (tmp_path / "runs-old").mkdir()
    study = study_of(settings={"corpus": corpora(tmp_path / "runs-old")[0]})
    pack_study(study, study.cells(), Storage(tmp_path / "runs"), away)
    assert len(list(away.glob("inputs/*/one.txt"))) == 1


def test_a_models_folder_is_refused_with_the_way_out(tmp_path: Path, away: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    study = study_of(settings={"p_star": str(model)})
    with pytest.raises(InputError, match=r"is a folder of this machine.*Copy it into the storage"):
        pack_study(study, study.cells_as_written(), Storage(tmp_path / "runs"), away)
    assert not list(away.iterdir())
    shared = Storage(tmp_path)
    pack_study(study, study.cells_as_written(), shared, away)


def test_more_than_a_head_should_keep_is_refused(
    tmp_path: Path, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipment, "MOST_BYTES", 100)
    study = study_of(settings={"corpus": corpora(tmp_path)[0]})
    with pytest.raises(InputError, match=r"takes up to 0 along.*one\.txt|one\.txt alone"):
        pack_study(study, study.cells(), Storage(tmp_path / "runs"), away)


def test_a_scorers_label_stays_with_it() -> None:
    places = {"a/b": "inputs/x/b"}
    value = {"scorers": ["a/b#3", "a/b", "length"], "n": 3}
    assert shipment.replaced(value, places) == {
        "scorers": ["inputs/x/b#3", "inputs/x/b", "length"], "n": 3,
    }  # fmt: skip
