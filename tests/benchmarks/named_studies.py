"""Wall time, peak memory and overhead of named studies, each in a process of its own.

    python tests/benchmarks/named_studies.py [STUDY ...] [--storage DIR]

Overhead is the share of `cores x wall time` that is neither a stage nor an evaluation: Ray's start
and stop, Tune, tables, waiting for shared stages. With `--storage` all studies use that one, as a
user's would, and later ones find stages that earlier ones built; otherwise each starts empty.
Peak memory is the largest sum over the process tree of proportional set sizes (Linux).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
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


def measure(study: str, storage: Path) -> tuple[float, int, int]:
    """Wall seconds, peak bytes and exit status of one study."""
    command = [sys.executable, "-m", "recalltrap.cli", "run", study, "--storage", str(storage)]
    peak = 0
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        process = psutil.Process(child.pid)
        ended = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(2.0):
                peak = max(peak, tree_memory(process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = child.wait()
        ended.set()
        watcher.join()
    return time.perf_counter() - started, peak, status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", default=list(rt.named_studies()))
    parser.add_argument("--storage", type=Path)
    arguments = parser.parse_args()
    cores = os.cpu_count() or 1
    print(f"{cores} cores\n")
    print("| study | cells | wall, s | stages and evaluations, core s | overhead | peak, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for study in arguments.studies:
            storage = arguments.storage or Path(folder) / study.replace("/", "-")
            wall, peak, status = measure(study, storage)
            total += wall
            results = rt.open_run(study, str(storage))
            query = "select coalesce(sum(wall_seconds), 0) as s from costs where origin = 'built'"
            busy = results.sql(query)["s"][0].as_py()
            cells = results.table("cells").num_rows
            share = 1 - busy / (cores * wall)
            failed = "" if status == 0 else f" (exit {status})"
            print(f"| {study}{failed} | {cells} | {wall:.1f} | {busy:.1f} | {share:.0%} "
                  f"| {peak / 1e6:.0f} |", flush=True)  # fmt: skip
    print(f"\nall together {total:.0f} s")


if __name__ == "__main__":
    main()
