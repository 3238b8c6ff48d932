"""Wall time, peak memory and overhead of named studies, each in a process of its own.

    python tests/benchmarks/named_studies.py [STUDY ...] [--seeds N] [--storage DIR] [--local]

`wall` is what `recalltrap run` takes, from the interpreter's start to its end; `report` is the part
of it after the run: verdict and report. Overhead is the share of `cores x (wall - report)`
that is neither a stage nor an evaluation: Ray's start and stop, imports, Tune, tables, waiting for
shared stages. With `--storage` all studies use that one, as a user's would, and later ones find
stages that earlier ones built; otherwise each starts empty. `--local` runs everything in one
process on one core, without Ray. Peak memory is the largest sum over the
process tree of proportional set sizes (Linux).
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

import recalltrap as rt


def tree_memory(process: psutil.Process) -> int:
    """Bytes that a process and all below it hold, shared pages counted once."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            total += member.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return total


RUN = """
import sys, time
import recalltrap as rt
from recalltrap.cli.commands import conclude
seeds, local = int(sys.argv[3]) or None, bool(int(sys.argv[4]))
results = rt.run(sys.argv[1], storage=sys.argv[2], seeds=seeds, local=local)
began = time.perf_counter()
status = conclude(results)
print(time.perf_counter() - began)
sys.exit(status)
"""
"""What the command does, with a look at the clock."""


@dataclass(frozen=True)
class Measured:
    """One study's run: seconds from start to end and for the report, peak bytes, exit status."""

    wall: float
    report: float
    peak: int
    status: int


def measure(study: str, storage: Path, seeds: int, *, local: bool) -> Measured:
    """Run one study in a process of its own and watch it."""
    command = [sys.executable, "-c", RUN, study, str(storage), str(seeds), str(int(local))]
    peak = 0
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        process = psutil.Process(child.pid)
        ended = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(2.0):
                peak = max(peak, tree_memory(process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        said, _ = child.communicate()
        wall = time.perf_counter() - started
        ended.set()
        watcher.join()
    lines = said.split("\n")
    report = float(lines[-2]) if child.returncode == 0 else math.nan
    return Measured(wall, report, peak, child.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    mixtures = [name for name in rt.named_studies() if name.startswith("mog/")]
    parser.add_argument("studies", nargs="*", default=mixtures)
    parser.add_argument("--storage", type=Path)
    parser.add_argument("--seeds", type=int, default=0, help="instead of the studies' own")
    parser.add_argument("--local", action="store_true", help="one process, without Ray")
    arguments = parser.parse_args()
    cores = 1 if arguments.local else os.cpu_count() or 1
    print(f"{cores} cores\n")
    print("| study | cells | wall, s | of it report, s | stages and evaluations, core s "
          "| overhead | peak, MB |")  # fmt: skip
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for study in arguments.studies:
            storage = arguments.storage or Path(folder) / study.replace("/", "-")
            run = measure(study, storage, arguments.seeds, local=arguments.local)
            total += run.wall
            results = rt.open_run(study, str(storage))
            query = "select coalesce(sum(wall_seconds), 0) as s from costs where origin = 'built'"
            busy = results.sql(query)["s"][0].as_py()
            cells = results.table("cells").num_rows
            share = 1 - busy / (cores * (run.wall - run.report))
            failed = "" if run.status == 0 else f" (exit {run.status})"
            print(f"| {study}{failed} | {cells} | {run.wall:.1f} | {run.report:.1f} | {busy:.1f} "
                  f"| {share:.1%} | {run.peak / 1e6:.0f} |", flush=True)  # fmt: skip
    print(f"\nall together {total:.0f} s")


if __name__ == "__main__":
    main()
