"""Records: complete or refused with what is missing, and light until they run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from recalltrap.errors import InputError
from recalltrap.settings_parts import Part
from recalltrap_studies.records import LateImport, find_record, record_parts


class Base(Part):
    pass


class Extended(Base):
    pass


@dataclass(frozen=True)
class Entry:
    settings: type[Part] | None
    missing: tuple[str, ...] = ()

    def lacks(self) -> list[str]:
        return list(self.missing)


def test_a_late_import_is_the_object() -> None:
    assert LateImport(f"{LateImport.__module__}:LateImport").load() is LateImport


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("recalltrap_studies.records:LateImport", None),
        ("recalltrap_studies.records:find_record", None),
        ("recalltrap_studies.records:Late", "no Late in recalltrap_studies.records"),
        ("recalltrap_studies.recrods:LateImport", "no module recalltrap_studies.recrods"),
        ("recalltrap_studies.no.folder:Late", "no module recalltrap_studies.no.folder"),
    ],
)
def test_what_a_late_import_lacks_is_seen_before_it_is_imported(
    path: str, missing: str | None
) -> None:
    assert LateImport(path).lacks() == missing


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no fruit 'aple': did you mean 'apple'"):
        find_record({"apple": Entry(Base)}, "aple", "fruit", "fruits")


def test_an_incomplete_record_is_refused_with_all_that_is_missing() -> None:
    records = {"apple": Entry(Base, ("no core", "no peel")), "pear": Entry(Base)}
    with pytest.raises(InputError, match=r"fruit 'apple' .*: no core, no peel; .* in fruits"):
        find_record(records, "apple", "fruit", "fruits")
    assert find_record(records, "pear", "fruit", "fruits") is records["pear"]


def test_parts_that_another_extends_are_left_to_it() -> None:
    """A class can't inherit from a base before one that extends it."""
    records = {"a": Entry(Base), "b": Entry(Extended), "c": Entry(Extended), "d": Entry(None)}
    assert record_parts(records) == (Extended,)
    assert record_parts({"a": Entry(Base), "d": Entry(None)}) == (Base,)
