"""At which numbers of seeds a run has been judged, or will be: what its launches' records tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recalltrap.identity import fingerprint
from recalltrap.study.study import Study

DECIDES = ("kind", "orderings", "grid", "settings")
"""Of a study's fields, those that make it the same question whatever its seeds are."""


def question_of(study: Study) -> str:
    """A hash of what is asked, and not of how many seeds answer it or how they are judged."""
    content = study.content()
    return fingerprint({name: content[name] for name in DECIDES})


def launch_looks(study: Study) -> dict[str, Any]:
    """What a launch's record says of itself as a look at the data."""
    return {"question": question_of(study), "seeds": len(study.seeds)}


def judged_at(study: Study, launches: Iterable[Mapping[str, Any]]) -> tuple[int, ...]:
    """The study's planned looks, its own number of seeds, and those of earlier launches.

    A launch counts where it asked the same question and came to its end; records of versions that
    didn't note it tell nothing.

    Returns:
        Numbers of seeds, ascending; one alone where nobody looked before.
    """
    question = question_of(study)
    before = {
        int(launch["seeds"])
        for launch in launches
        if launch.get("question") == question and launch.get("ended_at")
    }
    return tuple(sorted({*study.looks, len(study.seeds)} | before))
