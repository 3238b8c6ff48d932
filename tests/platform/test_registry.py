from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recalltrap.errors import InputError
from recalltrap.registry import find_kind, kind_names, registered, room
from recalltrap.study.named_studies import load_study


def forget_packages() -> None:
    registered.cache_clear()
    find_kind.cache_clear()


@pytest.fixture
def broken_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Another package is installed whose kind can't be imported."""
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[recalltrap.studies]\nbroken = no_such_module:KIND\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_packages()
    yield "broken"
    forget_packages()


def test_a_package_of_somebody_else_brings_a_kind() -> None:
    assert "toy" in kind_names()
    assert find_kind("toy").name == "toy"
    assert type(find_kind("toy")).__module__ == "toy_kind"


def test_an_unknown_kind_or_room_gets_a_hint() -> None:
    with pytest.raises(InputError, match="did you mean 'toy'"):
        find_kind("toi")
    with pytest.raises(InputError, match="did you mean 'report'"):
        room("reprot")


def test_a_broken_package_is_named(broken_kind: str) -> None:
    with pytest.raises(InputError, match=r"no_such_module:KIND.*Reinstall the package"):
        find_kind(broken_kind)


def test_a_broken_package_does_not_stop_the_others(broken_kind: str) -> None:
    assert broken_kind in kind_names()
    assert load_study("toy/tiny").name == "toy/tiny"


@pytest.mark.parametrize(
    "name", ["executor", "report", "summary", "forecast", "result_grid", "placement"]
)
def test_every_room_opens(name: str) -> None:
    assert callable(room(name))
