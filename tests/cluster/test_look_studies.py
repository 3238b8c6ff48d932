"""A study that is run until it is decided, through Tune: the same cells as in one process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from toy_display import RecordingDisplay

import recalltrap as rt

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

StudyFile = Callable[..., str]


def test_each_look_runs_what_it_adds(study_file: StudyFile, storage: str) -> None:
    # Differences beyond any margin: decided at the first look that may say so.
    path = study_file(seeds={"looks": [2, 3]}, margin=0.0, grid={"kl_weight": [2.0]})
    tuned = rt.run(path, storage=storage, display=RecordingDisplay())
    here = rt.run(path, storage=f"{storage}-here", local=True)
    assert tuned.study == here.study
    assert tuned.table("metrics").equals(here.table("metrics"))
    assert [launch["seeds"] for launch in tuned.launches()] == [
        launch["seeds"] for launch in here.launches()
    ]
    assert tuned.looks() == (2, 3)
