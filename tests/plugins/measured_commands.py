"""Many commands of ours, each in a process of its own, with the time and the memory that it took.

One process imports what they need and forks for each of them: a hundred in the time of ten. Or each
starts anew, as a user's does, with the time of the imports in its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60
"""Seconds until a command that hangs is ended, by SIGALRM."""
MOST_BYTES = 8 << 30
"""Of a command: one that wants more fails, and not the machine."""


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    `seconds` are those of all cores that it and its children took, whatever else runs beside it;
    `megabytes` the most that it or a child of it held at once; `waited` is by the clock.
    """

    arguments: tuple[str, ...]
    status: int
    output: str
    errors: str
    seconds: float
    megabytes: float
    waited: float


def measured(
    commands: Iterable[Sequence[str]],
    folder: Path,
    imported: Sequence[str] = (),
    *,
    anew: bool = False,
) -> Iterator[Outcome]:
    """Run `recalltrap ...` for each of the argument lists in a folder, one after another.

    With `anew` each is an interpreter of its own. They run while their outcomes are asked for.
    """
    asked = [list(command) for command in commands]
    request = {"commands": asked, "imported": list(imported), "anew": anew}
    with subprocess.Popen(
        [sys.executable, __file__], cwd=folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "RECALLTRAP_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"},
    ) as runs:  # fmt: skip
        assert runs.stdin is not None
        assert runs.stdout is not None
        with runs.stdin:
            json.dump(request, runs.stdin)
        for said in map(json.loads, runs.stdout):
            yield Outcome(tuple(said["arguments"]), *(said[name] for name in list(said)[1:]))
    assert runs.returncode == 0


def _run(arguments: list[str], anew: bool) -> dict[str, object]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        begun = time.monotonic()
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            _limit_itself()
            if anew:
                program = [sys.executable, "-m", "recalltrap.cli.command_line", *arguments]
                os.execv(sys.executable, program)
            from recalltrap.cli.command_line import main

            code: object = 1
            try:
                code = main(arguments)
            except SystemExit as left:
                code = left.code
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else code is not None)  # not all torch's end
        _, status, usage = os.wait4(child, 0)
        said = []
        for file in (out, errors):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
    return {
        "arguments": arguments, "status": os.waitstatus_to_exitcode(status),
        "output": said[0], "errors": said[1], "seconds": usage.ru_utime + usage.ru_stime,
        "megabytes": usage.ru_maxrss / 1e3 if sys.platform == "linux" else usage.ru_maxrss / 1e6,
        "waited": time.monotonic() - begun,
    }  # fmt: skip


def _limit_itself() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    signal.alarm(PATIENCE)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    for name in () if asked["anew"] else ("recalltrap.cli.command_line", *asked["imported"]):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each child copies what its collector looks at
    for wanted in asked["commands"]:
        print(json.dumps(_run(wanted, asked["anew"])), flush=True)
    gc.unfreeze()  # nanobind looks for leaks at the very end
