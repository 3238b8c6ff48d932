"""Arrays in files that several workers write and map."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from recalltrap.errors import InputError
from recalltrap.run.worker_group import ALONE, WorkerGroup
from recalltrap_studies.mapped_files import MappedFile, shared_folder


def test_parts_written_in_any_order_are_one_array_that_outlives_its_file(tmp_path: Path) -> None:
    file = MappedFile(tmp_path / "deep" / "numbers", np.dtype(np.uint16), 10)
    file.create()
    file.write(6, np.arange(6, 10))
    file.write(0, np.arange(6, dtype=np.int64))
    array = file.mapped()
    file.path.unlink()
    assert array.tolist() == list(range(10))
    assert array.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_a_file_that_cannot_be_written_says_how_much_it_needs(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    file = MappedFile(tmp_path / "taken" / "numbers", np.dtype(np.int64), 250_000_000)
    with pytest.raises(InputError, match=r"taken/numbers can't be written \(.*\).* 2\.0 GB"):
        file.create()
    with pytest.raises(InputError, match=r"taken/numbers can't be written"):
        file.write(0, np.arange(3))


def test_each_machine_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks 0 and 2 on one machine, rank 1 on another: as each of them sees it."""
    machines = ["here", "there", "here"]
    found = []
    for rank, machine in enumerate(machines):
        monkeypatch.setattr(socket, "gethostname", lambda machine=machine: machine)

        def gather(value: object) -> list[object]:
            if value == f"{machine} {tmp_path}":  # noqa: B023
                return [f"{its} {tmp_path}" for its in machines]
            return [f"of {index}" for index in range(3)]

        with shared_folder(tmp_path, WorkerGroup(rank, 3, gather=gather)) as place:
            found.append((place.folder.name, place.rank, place.size))
    assert found == [("of 0", 0, 2), ("of 1", 0, 1), ("of 0", 1, 2)]


def written_beyond(file: MappedFile) -> None:
    file.create()
    file.write(0, np.arange(2))


def test_a_folder_is_gone_also_where_something_fails_in_it(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="holds 1"), shared_folder(tmp_path, ALONE) as place:
        written_beyond(MappedFile(place.folder / "numbers", np.dtype(np.int64), 1))
    assert [*tmp_path.iterdir()] == []
