"""Export: which model, where to, and what its card says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from toy_kind import KIND

from recalltrap.cli.command_line import main
from recalltrap.errors import InputError
from recalltrap.kind import ExportedModel
from recalltrap.results.results import Results, open_run
from recalltrap.run.run import run
from recalltrap.store.storage import Storage

StudyFile = Callable[..., str]
FILE = "model.safetensors"


def _export(kind: Any, node: Any, store: Any, folder: Path) -> ExportedModel:
    (folder / FILE).write_bytes(store.read(node, FILE))
    return ExportedModel({"library_name": "toys"}, "Throw it.")


@pytest.fixture
def results(study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch) -> Results:
    """Four grid points of two orderings, by a kind whose models can be exported."""
    monkeypatch.setattr(type(KIND), "export", _export, raising=False)
    grid = {"kl_weight": [0.5, 2], "student_components": [2, 3]}
    return run(study_file(grid=grid, seeds=2), storage=storage, local=True)


def test_the_model_of_that_cell_leaves(results: Results, tmp_path: Path) -> None:
    seeds: list[Any] = [0, np.int64(1)]
    for number, seed in enumerate(seeds):
        folder = tmp_path / f"out{number}"
        said = results.export("A-K", seed, folder, kl_weight=2.0, student_components=np.int64(3))
        assert said == str(folder)
        (cell,) = [
            c for c in results.planned()
            if (c.ordering.name, c.seed) == ("A-K", seed)
            and (c.factors["kl_weight"], c.factors["student_components"]) == (2, 3)
        ]  # fmt: skip
        assert (folder / FILE).read_bytes() == results.store.read(cell.models["final"], FILE)
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", FILE]
    assert not list(tmp_path.glob(".out*"))


def test_the_card_says_how_it_was_made(results: Results, tmp_path: Path) -> None:
    results.export("A-K", 1, tmp_path / "out", kl_weight=2, student_components=3)
    card = (tmp_path / "out" / "README.md").read_text()
    (cell,) = [
        c for c in results.planned()
        if (c.ordering.name, c.seed, c.factors["kl_weight"]) == ("A-K", 1, 2)
        and c.factors["student_components"] == 3
    ]  # fmt: skip
    (row,) = results.sql(
        f"select value, standard_error from metrics where cell_id = '{cell.id}' "
        "and model = 'final' and metric = 'reward'"
    ).to_pylist()
    for words in (
        "# A-K of toy/test, seed 1", "> Does it work?", "(align, then distill)",
        "library_name: toys", "# license: the base model's; fill it in", "Throw it.",
        "| kl_weight | 2.0 (an axis of the grid) |", "| iterations | 10 |",
        f"| reward | {row['value']:.4g} |", "one seed of 2", results.verdict().sentence,
        *(node.id[:12] for node in cell.models["final"].parents.values()), "| numpy |",
    ):  # fmt: skip
        assert words in card, words


def test_the_card_holds_no_path_and_no_host(
    study_file: StudyFile, storage: str, tmp_path: Path, results: Results
) -> None:
    (tmp_path / "private" / "folder").mkdir(parents=True)
    again = run(
        study_file(settings={"trouble": str(tmp_path / "private" / "folder")}, seeds=1),
        storage=storage, local=True,
    )  # fmt: skip
    again.export("K-A", 0, tmp_path / "out", kl_weight=2)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| trouble | folder |" in card
    assert str(tmp_path) not in card
    assert results.provenance()["host"] not in card


def test_of_several_grid_points_one_is_chosen(results: Results, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        results.export("K-A", 0, tmp_path / "out")
    for words in ("4 grid points", "--at kl_weight=0.5", "kl_weight: 0.5, 2", "components: 2, 3"):
        assert words in str(caught.value)
    with pytest.raises(InputError, match=r"2 grid points.*e\.g\. --at student_components=2"):
        results.export("K-A", 0, tmp_path / "out", kl_weight=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("ordering", "seed", "at", "words"),
    [
        ("K-B", 0, {}, r"ordering 'K-B' is not in toy/test; did you mean 'K-A'\?"),
        ("K-A", 2, {}, r"seed 2 is not in toy/test: it has 0, 1"),
        ("K-A", True, {}, r"seed True is not in"),
        ("K-A", 0, {"kl_wight": 2}, r"kl_wight = 2: no axis .*; did you mean 'kl_weight'\?"),
        ("K-A", 0, {"kl_weight": 0.7}, r"kl_weight = 0\.7 is not in .* grid: it has 0\.5, 2"),
        ("K-A", 0, {"kl_weight": "2"}, r"kl_weight = '2' is not in"),
    ],
)
def test_what_isnt_there_is_refused(
    ordering: str, seed: Any, at: dict[str, Any], words: str, results: Results, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        results.export(ordering, seed, tmp_path / "out", **at)
    assert not (tmp_path / "out").exists()


def test_where_it_may_go(results: Results, tmp_path: Path) -> None:
    at = {"kl_weight": 2, "student_components": 3}
    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    (full / "mine").write_text("precious")
    file.write_text("precious")
    empty.mkdir()
    for where, words in ((full, "isn't empty"), (file, "is a file"), ("s3://b/x", "this machine")):
        with pytest.raises(InputError, match=words):
            results.export("K-A", 0, where, **at)
    assert [path.name for path in full.iterdir()] == ["mine"]
    assert results.export("K-A", 0, empty, **at) == str(empty)
    assert results.export("K-A", 0, tmp_path / "new" / "folder", **at)


def test_what_fails_leaves_nothing(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(kind: Any, node: Any, store: Any, folder: Path) -> ExportedModel:
        (folder / "half").write_text("")
        raise OSError("no space left on device")

    monkeypatch.setattr(type(KIND), "export", full)
    with pytest.raises(OSError, match="no space"):
        results.export("K-A", 0, tmp_path / "place" / "out", kl_weight=2, student_components=3)
    assert not list((tmp_path / "place").iterdir())


def test_an_unfinished_cell_and_a_lost_model(results: Results, tmp_path: Path) -> None:
    at = {"kl_weight": 2, "student_components": 3}
    (cell,) = [
        c for c in results.planned()
        if (c.ordering.name, c.seed) == ("K-A", 0)
        and (c.factors["kl_weight"], c.factors["student_components"]) == (2, 3)
    ]  # fmt: skip
    folder = Path(results.storage.display(results.store.folder(cell.models["final"])))
    folder.rename(tmp_path / "moved")
    fresh = open_run("toy/test", Path(results.storage.location))
    with pytest.raises(InputError, match=r"isn't in the store any more .*run the study again"):
        fresh.export("K-A", 0, tmp_path / "out", **at)
    for part in Path(results.folder).glob("tables/cells/*"):
        part.unlink()
    unfinished = Results(Storage(results.storage.location), results.run)
    with pytest.raises(InputError, match="is not finished in"):
        unfinished.export("K-A", 0, tmp_path / "out", **at)


def test_the_command(
    results: Results, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["export", *arguments, "--storage", storage])

    out = str(tmp_path / "out")
    at = ("--at", "kl_weight=2", "--at", "student_components=3")
    for arguments, words in [
        (("toy/test", "K-A", "0", out), "choose one"),
        (("toy/test", "K-A", "0", out, "--at", "kl_weight"), "write it as axis=value"),
        (("toy/test", "K-A", "0", out, "--at", "kl_weight=["), "is not a YAML value"),
        (("toy/test", "K-A", "0", out, *at, "--at", "kl_weight=2"), "given twice"),
        (("toy/nonesuch", "K-A", "0", out), "no run"),
        (("toy/test", "K-A", "one", out), "is not a valid integer"),
    ]:
        done = command(*arguments)
        assert done.exit_code == 2, done.output
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    done = command("toy/test", "K-A", "0", out, *at)
    assert (done.exit_code, done.stdout) == (0, f"exported to {out}\n")
    monkeypatch.delattr(type(KIND), "export")
    done = command("toy/test", "K-A", "0", f"{out}2", *at)
    assert done.exit_code == 2
    assert "has no format that other libraries load; its own files stand in" in done.stderr
    assert not Path(f"{out}2").exists()
