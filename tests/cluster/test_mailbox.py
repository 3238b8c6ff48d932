"""What workers say and are told: without Ray running."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from recalltrap.kind import Progress
from recalltrap_cluster.mailbox import Mailbox, Reporter


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


def test_another_attempt_begins_with_nothing_said_and_keeps_its_placement() -> None:
    mailbox = Mailbox()
    mailbox.report("one", {"step": 1})
    mailbox.fail("one", ("user_code", "broke", ""))
    mailbox.hold_placement("one", "placement group")
    mailbox.begin("one")
    assert mailbox.take_row("one") is None
    assert mailbox.take_reason("one") is None
    assert mailbox.take_placement("one") == "placement group"
    assert mailbox.take_placement("one") is None


@pytest.mark.parametrize(("rank", "posts"), [(0, 1), (1, 0)])
def test_the_first_worker_alone_posts_and_not_too_often(rank: int, posts: int) -> None:
    posted: list[dict[str, Any]] = []
    report = SimpleNamespace(remote=lambda trial_id, row: posted.append(row))
    reporter = Reporter(SimpleNamespace(report=report), "one", rank)
    for step in range(5):
        reporter.report(Progress("align", step, 4, {"reward_mean": float(step)}))
    assert len(posted) == posts
    assert reporter.last == {"stage": "align", "step": 4, "steps": 4, "reward_mean": 4.0}
