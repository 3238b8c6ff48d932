"""What a test asks to go wrong in the toy study, and where."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recalltrap.errors import StageError
from recalltrap.identity import fingerprint


@dataclass(frozen=True)
class Trouble:
    """One thing to go wrong: `do` it when `stage` meets a node whose config and seed fit `where`.

    raise, stage_error, oom, kill (this process, after a last word), nan (that row), wait (until the
    file `release` stands there; `waiting` says that it began). With `once` the first to come takes
    it away.
    """

    file: Path
    do: str
    stage: str
    where: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False

    def fits(self, stage: str, facts: Mapping[str, Any]) -> bool:
        return stage == self.stage and all(facts.get(k) == v for k, v in self.where.items())

    def claim(self) -> bool:
        if not self.once:
            return True
        with contextlib.suppress(FileNotFoundError):
            self.file.unlink()
            return True
        return False


def plant(folder: Path, do: str, stage: str, *, once: bool = False, **where: Any) -> Path:
    """Ask for trouble; removing the file ends it."""
    folder.mkdir(exist_ok=True)
    name = fingerprint([do, stage, once, where])
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"do": do, "stage": stage, "once": once, "where": where}))
    return path


def _troubles(folder: str) -> list[Trouble]:
    found = []
    for file in sorted(Path(folder).glob("*.json")) if folder else ():
        with contextlib.suppress(FileNotFoundError):
            found.append(Trouble(file, **json.loads(file.read_text())))
    return found


def meet(stage: str, facts: Mapping[str, Any]) -> str:
    """Do what is asked for at this place; returns `nan` where a row shall become that."""
    for trouble in _troubles(facts["trouble"]):
        if not trouble.fits(stage, facts) or not trouble.claim():
            continue
        if trouble.do == "raise":
            raise RuntimeError(f"toy {stage} broke on purpose")
        if trouble.do == "stage_error":
            raise StageError("timeout", f"toy {stage} took too long on purpose")
        if trouble.do == "oom":
            raise MemoryError(f"toy {stage} found no memory on purpose")
        if trouble.do == "kill":
            print(f"toy {stage}: these are my last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble.do == "wait":
            _wait(trouble.file.parent)
        if trouble.do == "nan":
            return "nan"
    return ""


def _wait(folder: Path) -> None:
    (folder / "waiting").write_text(str(os.getpid()))
    while not (folder / "release").exists():
        time.sleep(0.01)
