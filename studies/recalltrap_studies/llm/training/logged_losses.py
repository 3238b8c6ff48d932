"""Losses of a training as they were logged, in a file beside its checkpoints.

An interrupted training has gone beyond its last checkpoint. Whoever goes on from there passes the
same updates again, over the same rows: the losses must be those that were logged the first time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from recalltrap.errors import StageError

FILE = "losses.jsonl"


@dataclass
class LoggedLosses:
    """The losses by update that earlier attempts logged, and those of this one.

    `tolerance` is in the loss's unit, and relative where the loss is larger than 1: devices that
    don't compute bit for bit alike differ a little.
    """

    folder: Path
    stage: str
    tolerance: float
    earlier: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = self.folder / FILE
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                update, loss = json.loads(line)
            except ValueError:  # it was being written when the training was killed
                continue
            self.earlier[int(update)] = float(loss)

    def add(self, update: int, loss: float, *, whole: bool = True) -> None:
        """A loss is logged; not `whole` where it is the mean over other updates than before.

        Raises:
            StageError: the same update had another loss before.
        """
        before = self.earlier.get(update)
        if before is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / FILE).open("a") as file:
                file.write(json.dumps([update, loss]) + "\n")
        elif whole and abs(loss - before) > self.tolerance * max(1.0, abs(before)):
            raise StageError(
                "user_code",
                f"{self.stage} went on from a checkpoint and had a loss of {loss:.4f} at update "
                f"{update}, where it was {before:.4f} before it was interrupted: remove its folder "
                f"{self.folder}, and it starts anew",
            )
