"""What the tests of several rooms share: the toy kind as an installed package, study files."""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job that a shell put into the background ignores Ctrl-C, and so would all it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

PLUGINS = str(Path(__file__).parent / "plugins")
sys.path.insert(0, PLUGINS)  # its dist-info makes `toy` an installed kind
os.environ["PYTHONPATH"] = os.pathsep.join(
    part for part in (PLUGINS, os.environ.get("PYTHONPATH", "")) if part
)  # for Ray's workers and the command line
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.pop("RECALLTRAP_STORAGE", None)

hypothesis.settings.register_profile("untimed", deadline=None)  # no test is a timed one
hypothesis.settings.load_profile("untimed")

StudyFile = Callable[..., str]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting imports (torch, transformers) stays: the collector need never walk it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # nanobind looks for leaks at the very end


LONG_SECONDS = 300
"""Of a test that is slow or starts Ray, until it hangs: on a busy machine such ones take a minute
and more. Quick ones have pyproject's limit."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test without a limit of its own gets a long one."""
    for item in items:
        long = item.get_closest_marker("slow") or item.get_closest_marker("ray")
        if long and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_SECONDS))


@pytest.fixture
def study_file(tmp_path: Path) -> StudyFile:
    """Writes a small toy study; keywords replace its fields, None removes one. Returns a path."""

    def write(**fields: Any) -> str:
        content: dict[str, Any] = {
            "name": "toy/test",
            "kind": "toy",
            "question": "Does it work?",
            "orderings": ["K-A", "A-K"],
            "seeds": 3,
            "grid": {"kl_weight": [0.5, 2.0]},
            **fields,
        }
        path = tmp_path / "study.yaml"
        kept = {name: value for name, value in content.items() if value is not None}
        path.write_text(json.dumps(kept, indent=1))  # YAML contains JSON
        return str(path)

    return write


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """A folder for a run's results that doesn't exist yet."""
    return str(tmp_path / "runs")


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray with two cores for all tests that can share it; `run` leaves it running."""
    import ray

    from recalltrap_cluster.ray_internals import loopback_only

    with loopback_only():
        ray.init(
            address="local",  # never a head that somebody else started on this machine
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    yield
    ray.shutdown()


Snapshot = Callable[[str], dict[str, tuple[bytes, int]]]


@pytest.fixture
def snapshot() -> Snapshot:
    """Every file below a folder with its content and its time of writing."""

    def look(folder: str) -> dict[str, tuple[bytes, int]]:
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    return look
