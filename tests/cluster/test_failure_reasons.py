"""Why a trial failed, told from the text that Ray leaves of it."""

from __future__ import annotations

import pytest

from recalltrap_cluster.failure_reasons import failure_reason
from tests.cluster.tune_errors import BROKE, LOST


@pytest.mark.parametrize(
    ("text", "failure", "message"),
    [
        (LOST, "worker_lost", "the worker process died"),
        (LOST + BROKE, "user_code", "RuntimeError: broke on purpose"),
        ("Failure # 1 (occurred at x)\nThe actor ab12 is unavailable: y.", "worker_lost", "died"),
        ("Failure # 1 (occurred at x)\nray.exceptions.ActorDiedError: gone", "worker_lost", ""),
        ("Failure # 1 (occurred at x)\nTask was killed due to the node running low on memory.",
         "oom", "running low on memory"),
        ("Failure # 1 (occurred at x)\nray.train.WorkerGroupStartupTimeoutError: 30 s",
         "scheduling", "30 s"),
        ("Failure # 1 (occurred at x)\nThe actor died because of an error raised in its creation "
         "task, \nKeyError: 'pack'", "user_code", "KeyError: 'pack'"),
        ("", "user_code", "without a word"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failure(text: str, failure: str, message: str) -> None:
    reason = failure_reason(text)
    assert reason[0] == failure
    assert message in reason[1]
    assert "Failure #" not in reason[2]
