"""Losses of updates that are passed again after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest

from recalltrap.errors import StageError
from recalltrap_studies.llm.training.logged_losses import FILE, LoggedLosses


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """What a training left that logged three losses and was killed while it wrote the fourth."""
    first = LoggedLosses(tmp_path, "sft", 0.05)
    for update, loss in ((10, 4.0), (20, 3.0), (30, 0.5)):
        first.add(update, loss)
    with (tmp_path / FILE).open("a") as file:
        file.write("[40, 0.")
    return tmp_path


def test_the_same_losses_are_no_news(interrupted: Path) -> None:
    """A little rounding is the same, in the loss's unit or relative to a large one."""
    again = LoggedLosses(interrupted, "sft", 0.05)
    for update, loss in ((20, 3.1), (30, 0.54), (40, 0.4)):
        again.add(update, loss)
    assert LoggedLosses(interrupted, "sft", 0.05).earlier[20] == 3.0


@pytest.mark.parametrize("loss", [3.2, 2.8, 4.0])
def test_another_loss_at_the_same_update_is_an_error(loss: float, interrupted: Path) -> None:
    again = LoggedLosses(interrupted, "sft", 0.05)
    with pytest.raises(StageError, match=r"at update 20, where it was 3\.0000 before") as raised:
        again.add(20, loss)
    assert raised.value.failure == "user_code"
    assert f"remove its folder {interrupted}" in str(raised.value)


def test_a_mean_over_other_updates_is_not_compared(interrupted: Path) -> None:
    LoggedLosses(interrupted, "sft", 0.05).add(20, 9.0, whole=False)
