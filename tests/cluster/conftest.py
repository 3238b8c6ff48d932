"""What several tests of clusters join."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ray_head import Head


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head with a token, for all tests of a module."""
    from ray_head import started_head  # late: it imports Ray

    with started_head() as found:
        yield found
