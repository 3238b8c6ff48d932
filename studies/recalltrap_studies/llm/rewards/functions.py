"""Rewards that are functions of texts, by the name of an installed entry point.

A package registers one in the group `recalltrap.rewards`: `function(prompts, responses)`, two lists
of texts, gives a float for each response, and may say its `supremum` and which modules it
`requires`. Light to import: a function is imported when something runs.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from recalltrap.errors import InputError, nearest, shown
from recalltrap.registry import registered
from recalltrap.store.contents import Content, remembered
from recalltrap_studies.llm.contents import content_of
from recalltrap_studies.llm.stage_settings import ORACLE

GROUP = "recalltrap.rewards"
EXTRA = "pip install 'recalltrap[rewards]'"
OURS = "recalltrap_studies."
LONGEST_ERROR = 300
SOURCE = ("reward",)
"""By what a run remembers the source of a function that isn't installed any more."""

Function = Callable[[list[str], list[str]], Sequence[float]]


def installed() -> list[str]:
    """The names of all functions that are installed here."""
    return sorted(registered(GROUP))


def is_function(name: str) -> bool:
    """Whether a reward is an installed function, or was one when a run was started."""
    return name in registered(GROUP) or remembered(name, SOURCE) is not None


def source_of(name: str) -> Content | None:
    """What decides a function's numbers beside its name: the file that it stands in.

    None of one that ships: whoever changes its meaning raises the versions of the stages.
    """
    if known := remembered(name, SOURCE):
        return known
    module = registered(GROUP)[name].value.partition(":")[0]
    if module.startswith(OURS):
        return None
    file = _file_of(module)
    if file is None:
        raise InputError(
            f"the reward {name!r} ({registered(GROUP)[name].value}) has no module {module!r} with "
            "a file of its own. Reinstall the package that provides it"
        )
    found = content_of(file, ())
    assert isinstance(found, Content), "the module's file is there"
    return Content(found["sha256"], name, file, SOURCE)


def _file_of(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a package that it lies in is imported for it
        return None
    return spec.origin if spec and spec.origin and Path(spec.origin).is_file() else None


@cache
def find_function(name: str) -> Function:
    """An installed function.

    Raises:
        InputError: there is none of that name, it can't be imported or called so, or lacks a module
            that it requires; says how to install it.
    """
    points = registered(GROUP)
    if name not in points:
        raise InputError(
            f"no reward {name!r} is installed here: {nearest(name, [ORACLE, *points])} "
            f"Else install the package that registers it (entry points of the group {GROUP}) on "
            f"every machine; ours need {EXTRA}"
        )
    try:
        found = points[name].load()
        lacking = [m for m in _required(found) if not importlib.util.find_spec(m)]
        if not lacking and inspect.isclass(found):
            found = found()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a stranger's module does, leaving the program too
        raise InputError(
            f"the reward {name!r} ({points[name].value}) can't be imported: {_said(error)}. "
            "Reinstall the package that provides it, or give another reward"
        ) from error
    if lacking:
        way_out = EXTRA if points[name].value.startswith(OURS) else f"pip install {lacking[0]}"
        raise InputError(
            f"the reward {name!r} needs {lacking[0]}, which isn't installed here: {way_out}, on "
            "every machine"
        )
    _check_call(name, found)
    return found  # type: ignore[no-any-return]


def _required(found: Any) -> Sequence[str]:
    """The modules that a function needs."""
    names = getattr(found, "requires", ())
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"it says requires = {shown(names)}, which is no list of modules")
    return list(names)


def _said(error: BaseException) -> str:
    """A stranger's error in one line."""
    try:
        words = " ".join(str(error).split())[:LONGEST_ERROR]
    except Exception:
        words = ""
    kind = type(error).__name__
    return f"{kind}: {words}" if words else kind


def _check_call(name: str, found: Any) -> None:
    """Refuse what can't be called with two lists, and a supremum that is no number."""
    point = registered(GROUP)[name].value
    try:
        inspect.signature(found).bind([], [])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the reward {name!r} ({point}) can't be called as reward(prompts, responses): {error}."
            " Make it a function of two lists of texts"
        ) from None
    supremum = getattr(found, "supremum", None)
    number = isinstance(supremum, int | float) and not isinstance(supremum, bool)
    if supremum is not None and not (number and math.isfinite(supremum)):
        raise InputError(
            f"the reward {name!r} ({point}) says supremum = {shown(supremum)}: it must be a "
            "number, or None where there is none"
        )
