"""What workers say and are told: without Ray running."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from recalltrap.kind import Progress
from recalltrap.resources import Resources
from recalltrap_cluster.training import GroupWork, Mailbox, Reporter, worker_environment


def test_the_latest_row_counts_and_is_told_once() -> None:
    mailbox = Mailbox()
    mailbox.report("one", {"step": 1})
    mailbox.report("one", {"step": 2})
    assert mailbox.take_row("other") is None
    assert mailbox.take_row("one") == {"step": 2}
    assert mailbox.take_row("one") is None


def test_the_first_to_break_says_why() -> None:
    mailbox = Mailbox()
    mailbox.fail("one", ("nan", "the loss is NaN", ""))
    mailbox.fail("one", ("user_code", "connection reset by peer", ""))
    assert mailbox.take_reason("one") == ("nan", "the loss is NaN", "")


def test_another_attempt_begins_with_nothing_said_and_keeps_its_place() -> None:
    mailbox = Mailbox()
    mailbox.report("one", {"step": 1})
    mailbox.fail("one", ("user_code", "broke", ""))
    mailbox.occupy("one", "place")
    mailbox.begin("one")
    assert mailbox.take_row("one") is None
    assert mailbox.take_reason("one") is None
    assert mailbox.take_place("one") == "place"
    assert mailbox.take_place("one") is None


@pytest.mark.parametrize(("rank", "posts"), [(0, 1), (1, 0)])
def test_the_first_worker_alone_posts_and_not_too_often(rank: int, posts: int) -> None:
    posted: list[dict[str, Any]] = []
    report = SimpleNamespace(remote=lambda trial_id, row: posted.append(row))
    work = GroupWork(
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        "one", Resources(), SimpleNamespace(report=report),
    )  # fmt: skip
    reporter = Reporter(work, rank)
    for step in range(5):
        reporter.report(Progress("align", step, 4, {"reward_mean": float(step)}))
    assert len(posted) == posts
    assert reporter.last == {"stage": "align", "step": 4, "steps": 4, "reward_mean": 4.0}


def test_the_environment_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALLTRAP_ARGV", '["recalltrap", "run"]')
    monkeypatch.delenv("RECALLTRAP_DEVICE", raising=False)
    environment = worker_environment(Resources(cpus_per_trial=3))
    assert environment == {
        "RECALLTRAP_ARGV": '["recalltrap", "run"]',
        "OMP_NUM_THREADS": "3",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
    }
    monkeypatch.setenv("RECALLTRAP_DEVICE", "cuda")
    with_gpu = worker_environment(Resources(gpus_per_trial=1))
    assert "CUDA_VISIBLE_DEVICES" not in with_gpu
    assert with_gpu["RECALLTRAP_DEVICE"] == "cuda"
