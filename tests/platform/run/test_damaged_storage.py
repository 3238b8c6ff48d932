"""What somebody did to the files of a storage is refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import recalltrap as rt
from recalltrap.cli.command_line import main
from recalltrap.errors import InputError

pytestmark = pytest.mark.slow

StudyFile = Callable[..., str]
Snapshot = Callable[[str], dict[str, tuple[bytes, int]]]


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    texts = {"half": data[: len(data) // 2], "empty": b"", "text": b"hello", "mapping": b"{}"}
    path.write_bytes(texts[how])


@pytest.mark.parametrize(
    ("table", "how"),
    [("cells", "half"), ("cells", "empty"), ("metrics", "half"), ("curves", "text"),
     ("costs", "half"), ("planned", "half")],
)  # fmt: skip
def test_a_damaged_table_is_refused_and_nothing_is_written(
    table: str, how: str, study_file: StudyFile, storage: str, snapshot: Snapshot
) -> None:
    results = rt.run(study_file(), storage=storage, local=True)
    part = sorted(Path(results.folder, "tables", table).glob("*.parquet"))[0]
    damage(part, how)
    before = snapshot(storage)
    for attempt in (
        lambda: rt.run(study_file(), seeds=5, storage=storage, local=True),
        lambda: rt.open_run("toy/test", storage).table("cells"),
    ):
        with pytest.raises(InputError, match=f"{part.name} is damaged.*recalltrap run"):
            attempt()
    assert snapshot(storage) == before


def test_the_advice_for_a_damaged_table_works(study_file: StudyFile, storage: str) -> None:
    results = rt.run(study_file(), storage=storage, local=True)
    metrics = results.sql("select cell_id, value from metrics order by all")
    part = sorted(Path(results.folder, "tables/cells").glob("*.parquet"))[0]
    damage(part, "half")
    for namesake in Path(results.folder, "tables").glob(f"*/{part.name}"):
        namesake.unlink()
    again = rt.run(study_file(), storage=storage, local=True)
    assert again.sql("select cell_id, value from metrics order by all").equals(metrics)


def test_a_page_damaged_in_the_middle_is_refused_when_read(
    study_file: StudyFile, storage: str
) -> None:
    """The footer is whole: only reading the rows can tell."""
    results = rt.run(study_file(), storage=storage, local=True)
    part = sorted(Path(results.folder, "tables/metrics").glob("*.parquet"))[0]
    data = bytearray(part.read_bytes())
    data[4 : len(data) // 2] = b"\xff" * (len(data) // 2 - 4)
    part.write_bytes(bytes(data))
    with pytest.raises(InputError):
        rt.open_run("toy/test", storage).table("metrics")


def test_an_edited_artifact_is_refused_and_nothing_is_written(
    study_file: StudyFile, storage: str, snapshot: Snapshot
) -> None:
    rt.run(study_file(), storage=storage, local=True)
    model = sorted(Path(storage, "artifacts/sft").glob("*/model.safetensors"))[0]
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    before = snapshot(storage)
    with pytest.raises(InputError, match=r"model\.safetensors was changed after it was written"):
        rt.run(study_file(orderings=["A"]), storage=storage, local=True)
    assert snapshot(storage) == before


@pytest.mark.parametrize("text", ["", "][", "name: x\n", "3\n"])
def test_a_damaged_study_file_of_a_run_is_refused(
    text: str, study_file: StudyFile, storage: str, snapshot: Snapshot
) -> None:
    results = rt.run(study_file(seeds=1), storage=storage, local=True)
    Path(results.folder, "study.yaml").write_text(text)
    before = snapshot(storage)
    with pytest.raises(InputError, match=r"study\.yaml is damaged"):
        rt.run(study_file(seeds=2), storage=storage, local=True)
    with pytest.raises(InputError, match=r"study\.yaml is damaged"):
        rt.open_run("toy/test", storage).planned()
    assert snapshot(storage) == before


@pytest.mark.parametrize("how", ["empty", "mapping"])
@pytest.mark.parametrize(
    "where",
    ["studies/toy/test/launches", "provenance", "recalltrap-storage.json",
     "studies/toy/test/study.yaml"],
)  # fmt: skip
def test_whoever_reads_a_damaged_file_names_it_and_says_no_more(
    where: str, how: str, study_file: StudyFile, storage: str
) -> None:
    study = study_file(seeds=2)
    rt.run(study, storage=storage, local=True)
    place = Path(storage, where)
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    assert files
    for file in files:
        damage(file, how)
    refused = 0
    for command in (
        ["run", study, "--local"], ["report", "toy/test"], ["status", "toy/test"],
        ["query", "toy/test", "from cells"], ["plan", study],
    ):  # fmt: skip
        done = CliRunner().invoke(main, [*command, "--storage", storage])
        assert isinstance(done.exception, SystemExit | None), (command, done.exception)
        if done.exit_code == 2:
            assert any(file.name in done.output for file in files), (command, done.output)
            refused += 1
    assert refused or where == "provenance"  # which a report mentions, and nothing needs


def test_a_foreign_folder_is_refused(
    study_file: StudyFile, tmp_path: Path, snapshot: Snapshot
) -> None:
    study = study_file()
    before = snapshot(str(tmp_path))
    with pytest.raises(InputError, match="is not a recalltrap storage"):
        rt.run(study, storage=str(tmp_path), local=True)
    assert snapshot(str(tmp_path)) == before


def test_a_wrong_study_leaves_no_folder(study_file: StudyFile, storage: str) -> None:
    with pytest.raises(InputError):
        rt.run(study_file(seeds=[-1]), storage=storage, local=True)
    assert not Path(storage).exists()
