"""Many commands of ours, each in a process of its own, with the time and the memory that it took.

One process imports what they need and forks for each of them: a hundred in the time of ten.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    `seconds` are those of all cores that it and its children took, whatever else runs beside it;
    `megabytes` the most that it or a child of it held at once.
    """

    arguments: tuple[str, ...]
    status: int
    output: str
    errors: str
    seconds: float
    megabytes: float


def measured(
    commands: Iterable[Sequence[str]], folder: Path, imported: Sequence[str] = ()
) -> list[Outcome]:
    """Run `recalltrap ...` for each of the argument lists in a folder, one after another."""
    request = {"commands": [list(command) for command in commands], "imported": list(imported)}
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(request), cwd=folder,
        stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "RECALLTRAP_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    return [
        Outcome(tuple(said["arguments"]), *(said[name] for name in list(said)[1:]))
        for said in map(json.loads, done.stdout.splitlines())
    ]


def _run(arguments: list[str]) -> dict[str, object]:
    from recalltrap.cli.command_line import main

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            sys.stdin = open(os.devnull)  # noqa: SIM115
            try:
                main(arguments)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
        _, status, usage = os.wait4(child, 0)
        said = []
        for file in (out, errors):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
    return {
        "arguments": arguments, "status": os.waitstatus_to_exitcode(status),
        "output": said[0], "errors": said[1], "seconds": usage.ru_utime + usage.ru_stime,
        "megabytes": usage.ru_maxrss / 1e3 if sys.platform == "linux" else usage.ru_maxrss / 1e6,
    }  # fmt: skip


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    for name in ("recalltrap.cli.command_line", *asked["imported"]):
        importlib.import_module(name)
    for wanted in asked["commands"]:
        print(json.dumps(_run(wanted)), flush=True)
