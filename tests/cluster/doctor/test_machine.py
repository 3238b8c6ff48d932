"""Memory, GPUs, room and clocks, well and badly."""

from __future__ import annotations

from pathlib import Path

import pytest

from recalltrap.errors import InputError
from recalltrap.store.storage import Storage
from recalltrap_cluster.doctor.machine import (
    check_clock,
    check_gpus,
    check_memory,
    check_scratch,
    check_storage,
    clock_skew,
)
from recalltrap_cluster.doctor.ray_access import check_authentication


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n", "ok"),
        ("MemTotal: 64000000 kB\nMemAvailable: 900000 kB\n", "warning"),
        ("", "warning"),
    ],
)
def test_memory(text: str, state: str) -> None:
    assert check_memory(lambda: text).state == state


def no_tool() -> str:
    raise FileNotFoundError("nvidia-smi")


@pytest.mark.parametrize(
    ("wanted", "count", "said", "state"),
    [
        (0, 0, "", "ok"),
        (1, 0, "", "problem"),
        (1, 1, "NVIDIA H100, 81559, 81000\n", "ok"),
        (1, 2, "NVIDIA H100, 81559, 81000\nNVIDIA H100, 81559, 9000\n", "warning"),
        (1, 1, "something else", "warning"),
    ],
)
def test_gpus(wanted: float, count: int, said: str, state: str) -> None:
    found = check_gpus(wanted=wanted, count=count, query=lambda: said)
    assert found.state == state
    assert bool(found.advice) is (state != "ok")
    if "H100" in said:
        assert "NVIDIA H100 85 GB of 86 GB free" in found.found


def test_gpus_without_their_tool() -> None:
    found = check_gpus(wanted=1, count=1, query=no_tool)
    assert found.state == "warning"
    assert "nvidia-smi can't be asked" in found.found


def test_room(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "not" / "yet"))
    assert check_storage(storage, needed=1e9, free=1e12).state == "ok"
    assert check_storage(storage, needed=2e12, free=1e12).state == "problem"
    assert check_storage(storage, free=1e9).state == "warning"
    assert not (tmp_path / "not").exists()
    assert check_scratch(tmp_path, 1e12).state == "ok"
    assert check_scratch(tmp_path, 1e9).state == "warning"


def test_a_storage_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert check_storage(Storage(str(tmp_path))).state == "problem"


def test_clocks(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    looked_at = check_clock(storage)
    assert (looked_at.state, "within 1 s" in looked_at.found) == ("ok", True)
    skew = clock_skew(storage)
    assert skew is not None
    assert abs(skew) < 1.0
    assert list(tmp_path.iterdir()) == [], "nothing stays"
    nowhere = check_clock(Storage(str(tmp_path / "none")))
    assert (nowhere.state, "not made yet" in nowhere.found) == ("ok", True)
    ahead = check_clock(storage, lambda: 90.0)
    assert (ahead.state, "90 s ahead of" in ahead.found) == ("warning", True)
    behind = check_clock(storage, lambda: -7.0)
    assert (behind.state, "7 s behind" in behind.found) == ("warning", True)


def test_a_clock_that_cannot_be_read(tmp_path: Path) -> None:
    def refused() -> float:
        raise PermissionError("no")

    assert check_clock(Storage(str(tmp_path)), refused).state == "problem"


def test_authentication() -> None:
    def fine(address: str) -> None:
        pass

    def refused(address: str) -> None:
        raise InputError("no authentication token is set")

    assert check_authentication("local", False, "", fine).state == "ok"
    assert check_authentication("10.0.0.1:6379", True, "token", fine).state == "ok"
    assert check_authentication("local", False, "disabled", fine).state == "warning"
    assert check_authentication("10.0.0.1:6379", False, "", refused).state == "problem"
