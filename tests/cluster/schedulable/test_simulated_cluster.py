"""The planner's numbers against what Ray places, on a cluster of several nodes that grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from toy_processes import MARK, await_nobody
from toy_trouble import plant

import recalltrap as rt
from recalltrap_cluster.ray_internals import LOOPBACK_ENVIRONMENT

pytestmark = [pytest.mark.ray, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("simulated_cluster.py")
Found = dict[str, Any]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alignments need the licensed nodes of zone b, all else the others."""
    folder = tmp_path_factory.mktemp("simulated")
    path = folder / "study.yaml"
    content = {
        "name": "toy/test", "kind": "toy", "question": "Where?", "orderings": ["K-A"], "seeds": 2,
        "grid": {"kl_weight": [0.5, 1.0, 2.0]}, "settings": {"trouble": str(folder / "trouble")},
        "resources": {
            "labels": {"zone": "!b"},
            "stages": {"align": {"labels": {"zone": "b"}, "custom": {"license": 1}}},
        },
    }  # fmt: skip
    path.write_text(json.dumps(content))
    plant(folder / "trouble", "wait", "align")
    return path


@pytest.fixture(scope="module")
def found(study: Path) -> Found:
    mark = uuid.uuid4().hex
    storage, trouble = study.parent / "runs", study.parent / "trouble"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(study), str(storage), str(trouble)],
        env={**os.environ, **LOOPBACK_ENVIRONMENT, "RAY_AUTH_MODE": "disabled", MARK: mark},
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    await_nobody(mark)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_ray_places_as_many_as_planned_and_not_one_more(found: Found) -> None:
    for each in found["placements"]:
        assert (each["placed"], each["more"]) == (each["planned"], False), each["asked"]
    assert [each["planned"] for each in found["placements"]] == [2, 3, 2, 2, 2, 1, 1, 1]


def test_what_never_fits_is_refused_before_anything_is_written(found: Found) -> None:
    assert "asks for 1 CPU, 2 license (labels zone: !b) on one node" in found["refused"]
    assert not found["left"]


def test_stages_go_to_their_nodes_and_to_those_that_come(found: Found, study: Path) -> None:
    assert found["began"], "an alignment runs where the license is"
    assert found["held"], "and no other does before there is another license"
    assert found["grew"], "a node that comes is used"
    assert found["drained"], "one that is drained counts as room no more"
    assert found["alive"] == 3, "though what runs there goes on"
    here = rt.run(str(study), storage=str(study.parent / "here"), local=True)
    there = rt.open_run("toy/test", str(study.parent / "runs"))
    assert found["cells"] == 6
    assert there.table("metrics").equals(here.table("metrics"))
