"""Under Ray: a full disk, and an object store whose location holds credentials and an endpoint."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from object_store import ObjectStore, serve
from poor_storage import CAN_MOUNT, small_disk
from pyarrow import fs
from toy_display import RecordingDisplay
from toy_trouble import plant

import recalltrap as rt
from recalltrap.errors import StorageFullError
from recalltrap.results.results import Results
from recalltrap_cluster.storage.full_storage import noticing_full

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

StudyFile = Callable[..., str]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with serve() as started:
        yield started


def same_numbers(found: Results, expected: Results) -> None:
    query = "select * from metrics order by all"
    assert found.sql(query).equals(expected.sql(query))
    assert not found.table("failures").num_rows


@pytest.mark.parametrize("kind", ["toy", "toy_group"])
def test_a_study_in_an_object_store_and_tunes_view_of_it(
    kind: str, store: ObjectStore, study_file: StudyFile, tmp_path: Path
) -> None:
    study = study_file(kind=kind, orderings=["K-A"], seeds=1, grid={"kl_weight": [0.5]})
    location = store.location(kind)
    results = rt.run(study, storage=location)
    same_numbers(results, rt.run(study, storage=tmp_path / "here", local=True))
    assert rt.run(study, storage=location).launches()[-1]["done_before"] == 1
    grid = results.result_grid()
    assert grid.num_errors == 0
    assert 0.5 in {result.config["kl_weight"] for result in grid}
    assert grid.experiment_path.startswith(f"bucket/{kind}/studies/toy/test/tune/")
    selector = fs.FileSelector(f"bucket/{kind}", recursive=True)
    files = results.storage.filesystem.get_file_info(selector)
    held = [info.path for info in files if info.type == fs.FileType.File]
    assert any(path.endswith("result.json") for path in held)
    assert not [path for path in held if "/leases/" in path]
    for path in held:
        with results.storage.filesystem.open_input_stream(path) as stream:
            assert b"hunter2hunter2" not in stream.read(), path


@pytest.mark.skipif(not CAN_MOUNT, reason="makes a disk of its own, which needs root")
@pytest.mark.parametrize("kind", ["toy", "toy_group"])
def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(
    kind: str, study_file: StudyFile, tmp_path: Path
) -> None:
    """No retries, no word of failed cells: there is no room for what they would say either."""
    study = study_file(kind=kind, seeds=2, orderings=["K-A"], grid={"kl_weight": [0.5]})
    expected = rt.run(study, storage=tmp_path / "whole", local=True)
    shown = RecordingDisplay()
    with small_disk(tmp_path / "disk", 2000) as disk:
        filler = disk / "filler"
        filler.write_bytes(b"x" * 1_950_000)
        with pytest.raises(StorageFullError, match=r"No space left on device.*Make room") as caught:
            rt.run(study, storage=disk / "runs", display=shown)
        assert "\n" not in str(caught.value)
        assert shown.packs("failed") == []
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        rest = rt.run(study, storage=disk / "runs")
        same_numbers(rest, expected)


@pytest.mark.skipif(not CAN_MOUNT, reason="makes a disk of its own, which needs root")
@pytest.mark.parametrize("kind", ["toy", "toy_group"])
def test_who_says_something_else_of_a_full_disk_is_not_tried_again(
    kind: str, study_file: StudyFile, tmp_path: Path
) -> None:
    """As torch does. That it failed can't be recorded, either: that is how it's known."""
    trouble = tmp_path / "trouble"
    held, broken = ("distill", "align") if kind == "toy" else ("align/7", "align/8")
    plant(trouble, "wait", held)
    plant(trouble, "raise", broken)
    study = study_file(
        kind=kind, seeds=1, orderings=["K-A"], grid={"kl_weight": [0.5]},
        settings={"trouble": str(trouble)}, resources={"max_retries": 3},
    )  # fmt: skip
    shown = RecordingDisplay()
    with small_disk(tmp_path / "disk", 2000) as disk:
        filling = threading.Thread(target=fill, args=(disk / "filler", trouble))
        filling.start()
        with pytest.raises(StorageFullError, match=r"No space left on device.*Make room"):
            rt.run(study, storage=disk / "runs", display=shown)
        filling.join()
    assert shown.packs("failed") == []
    assert not [stage for stage in shown.stages if "trying again" in stage]


def fill(path: Path, trouble: Path) -> None:
    """Once somebody waits, leave no room beside a file, and let them go on."""
    while not (trouble / "waiting").exists():
        time.sleep(0.05)
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    (trouble / "release").touch()


def test_tunes_own_want_of_room_is_known() -> None:
    with (
        pytest.raises(StorageFullError, match=r"/x/result\.json.*Make room there"),
        noticing_full(),
    ):
        raise RuntimeError(
            "Traceback (most recent call last):\n  ...\n"
            "OSError: [Errno 28] No space left on device: '/x/result.json'\nand so on"
        )
    with pytest.raises(RuntimeError, match="other"), noticing_full():
        raise RuntimeError("other")
