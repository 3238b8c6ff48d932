"""One Ray on this machine for all tests that can share it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray with two cores; `run` finds it and leaves it running."""
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
