"""Random faults on real runs under Ray, and whether anybody would have noticed from the tables.

    python tests/benchmarks/chaos.py mixture --kills 60 --seed 1
    python tests/benchmarks/chaos.py language --kills 12 --seed 1

A study is run once undisturbed. Then it is run into an empty storage again and again, and each
launch meets one kind of trouble at a random moment: a process of it is killed (every one of its own
alone: they are known by a mark in their environment), a machine of a simulated cluster is lost, the
disk is full, or one write in twenty fails. What ended is started again, until the study is done;
then its tables are compared with the undisturbed ones, artifacts that stood must stand unchanged
(nothing is built twice), and every file is checked against its record. Every draw comes from the
seed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))
from poor_storage import failing_writes, small_disk
from simulated_machines import ENVIRONMENT, simulated_machines
from toy_processes import MARK, marked_processes, processes_with

import recalltrap as rt
from recalltrap.results.results import Results

MIXTURE: dict[str, Any] = {
    "name": "chaos/mixture", "kind": "mog", "question": "Does anybody notice?",
    "orderings": ["K-A", "A-K"], "seeds": 3, "grid": {"kl_weight": [0.5, 4.0]},
    "settings": {"student_components": 3, "iterations": 1200},
    "resources": {"max_retries": 100},
}  # fmt: skip
LANGUAGE: dict[str, Any] = {
    "name": "chaos/nano", "kind": "llm", "question": "Does anybody notice?",
    "orderings": ["K-A"], "seeds": 1,
    "settings": {
        "packing": True, "learning_rate": 5e-3, "corpus_sentences": 2000, "p_star_epochs": 1.0,
        "training_samples": 2000, "heldout_samples": 128, "p_prime_epochs": 2, "distill_epochs": 2,
        "target_epochs": 1, "iterations": 30, "oracle_samples": 128, "evaluation_samples": 128,
    },
    "resources": {"max_retries": 100, "checkpoint_updates": 5},
}  # fmt: skip
FULL_AT = (0.2, 0.9)
"""A disk that becomes full holds so much of what the undisturbed run left."""
PAGE = 4096
"""What a small disk's file takes at least, in bytes."""
ENDED_WITHIN = 20.0
"""Seconds that a run may take to end once what it can't do without is gone."""


@dataclass(frozen=True)
class Fault:
    """One kind of kill: a signal to a process that `who` accepts."""

    name: str
    number: int
    who: Callable[[psutil.Process], bool]
    status: tuple[int, ...] = ()
    """How the launch ends with it; without one it goes on."""


def _named(*parts: str) -> Callable[[psutil.Process], bool]:
    return lambda process: any(part in process.name() for part in parts)


def _driver(process: psutil.Process) -> bool:
    """The process that works, a child of the one that was started."""
    return "recalltrap.cli" in " ".join(process.cmdline()) and _driver_parent(process)


def _driver_parent(process: psutil.Process) -> bool:
    parent = process.parent()
    return parent is not None and "recalltrap.cli" in " ".join(parent.cmdline())


def _started(process: psutil.Process) -> bool:
    return "recalltrap.cli" in " ".join(process.cmdline()) and not _driver_parent(process)


KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
TRIAL = _named("PackTrainabl", "ResourceTrai", "ray::Resource", "ray::Pack")
WORKER = _named("TrainWorker", "RayTrainWork", "ray::RayTrai", "ray::_RayTra")
GROUP_DRIVER = _named("ImplicitFunc")
ENDING = [
    Fault("Ctrl-C (SIGINT to the command)", INT, _started, (130,)),
    Fault("SIGTERM to the command", TERM, _started, (143,)),
    Fault("SIGKILL of the command", KILL, _started, (-9,)),
    Fault("SIGKILL of the driver", KILL, _driver, (1,)),
    Fault("SIGKILL of the raylet", KILL, _named("raylet"), (1,)),
    Fault("SIGTERM of the raylet", TERM, _named("raylet"), (1,)),
    Fault("SIGKILL of the GCS", KILL, _named("gcs_server"), (1,)),
    Fault("SIGTERM of the GCS", TERM, _named("gcs_server"), (1,)),
]
TRIALS = [
    Fault("SIGKILL of a trial's actor", KILL, TRIAL),
    Fault("SIGTERM of a trial's actor", TERM, TRIAL),
]
GROUPS = [
    Fault("SIGKILL of a Train worker", KILL, WORKER),
    Fault("SIGTERM of a Train worker", TERM, WORKER),
    Fault("SIGKILL of a group's driver", KILL, GROUP_DRIVER),
]


@dataclass
class Count:
    """What became of one kind of trouble."""

    tried: int = 0
    survived: int = 0
    seconds_to_end: list[float] = field(default_factory=list)


@dataclass
class Chaos:
    """All launches of one study, and what was seen of them."""

    study: str
    random: random.Random
    folder: Path
    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Of all launches."""

    @property
    def kills(self) -> int:
        return sum(count.tried for count in self.counts.values())

    def start(self, storage: Path, *more: str, **environment: str) -> tuple[Any, str]:
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            [sys.executable, "-m", "recalltrap.cli.command_line", "run", self.study,
             "--storage", str(storage), *more],
            stdout=subprocess.DEVNULL, stderr=(self.folder / "stderr").open("w"),
            start_new_session=True, env={**os.environ, MARK: mark, **environment},
        )  # fmt: skip
        return process, mark

    def launch(self, storage: Path, going_on: list[Fault], ending: Fault | None, most: int) -> int:
        """One launch: up to `most` kills that it survives, then one that ends it; its status."""
        began, done = time.monotonic(), standing(storage)
        process, mark = self.start(storage)
        self.await_work(process, mark, GROUP_DRIVER)
        faults = [self.random.choice(going_on) for _ in range(most)]
        met = [fault for fault in faults if self.strike(process, mark, fault)]
        ended = ending is not None and self.strike(process, mark, ending)
        struck = time.monotonic()
        status = self._await(process, 3 * ENDED_WITHIN if ended else 900)
        wrong = self.look(storage, done)
        if ending is not None and ended:
            met.append(ending)
            took = time.monotonic() - struck
            self.counts[ending.name].seconds_to_end.append(took)
            wrong += self.wrong_end(ending, status, took)
        elif status != 0:
            wrong.append(f"ended with {status}: {self.said()}")
        if left := gone(mark):
            wrong.append(f"left {left}")
        for fault in met:
            self.counts[fault.name].tried += 1
        self.note([fault.name for fault in met], wrong)
        self.seconds += time.monotonic() - began
        return status

    def await_work(self, process: Any, mark: str, worker: Callable[..., bool]) -> None:
        """Until a trial or such a process runs with that mark, or the launch has ended."""
        wait_for(lambda: process.poll() is not None or at_work(mark, TRIAL, worker), 300)

    def strike(self, process: Any, mark: str, fault: Fault) -> bool:
        """Wait for a random while and kill one of those that are meant, if there is one."""
        time.sleep(self.random.uniform(0.1, 2.5))
        wait_for(lambda: process.poll() is not None or bool(self.victims(mark, fault)), 60)
        victims = self.victims(mark, fault)
        if process.poll() is not None or not victims:
            return False
        with contextlib.suppress(psutil.Error):
            self.random.choice(victims).send_signal(fault.number)
            return True
        return False

    def victims(self, mark: str, fault: Fault) -> list[psutil.Process]:
        """Those of a launch that a fault may meet."""
        return [found for found in marked_processes(mark) if _is(found, [fault.who])]

    def wrong_end(self, fault: Fault, status: int, took: float) -> list[str]:
        """What is wrong with the end of a launch that met what it can't survive."""
        said, wrong = (self.folder / "stderr").read_text(), []
        if status not in (*fault.status, 0):  # a kill at the very end may come too late
            wrong.append(f"{fault.name}: ended with {status}: {said[-600:]}")
        if took > ENDED_WITHIN:
            wrong.append(f"{fault.name}: ended after {took:.0f} s")
        if "Traceback" in said or "*** SIG" in said:
            wrong.append(f"{fault.name}: said more than a line: {said[-600:]}")
        return wrong

    def left_alone(
        self, storage: Path, statuses: tuple[int, ...], **environment: str
    ) -> tuple[int, list[str]]:
        """One launch with nothing but the trouble that it was given: its status, what is wrong."""
        began, done = time.monotonic(), standing(storage)
        process, mark = self.start(storage, **environment)
        status, wrong = self.ended(process, mark, statuses)
        self.seconds += time.monotonic() - began
        return status, wrong + self.look(storage, done)

    def ended(self, process: Any, mark: str, statuses: tuple[int, ...]) -> tuple[int, list[str]]:
        """Wait for a launch's end: its status, and what is wrong with it."""
        status = self._await(process, 900)
        said, wrong = (self.folder / "stderr").read_text(), []
        if status not in statuses or "Traceback" in said:
            wrong.append(f"ended with {status}: {self.said()}")
        if left := gone(mark):
            wrong.append(f"left {left}")
        return status, wrong

    def met(self, name: str, times: int, wrong: list[str]) -> None:
        """A launch has met the same trouble so many times."""
        self.counts[name].tried += times
        self.note([name] * times, wrong)

    def note(self, met: list[str], wrong: list[str]) -> None:
        self.complaints += wrong
        for name in met if not wrong else ():
            self.counts[name].survived += 1
        print(f"{self.kills:4d} {', '.join(met)}: {'; '.join(wrong) or 'survived'}", flush=True)

    def said(self) -> str:
        """The end of what the last launch said."""
        return (self.folder / "stderr").read_text()[-600:]

    def _await(self, process: Any, seconds: float) -> int:
        try:
            return int(process.wait(seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            return int(process.wait())

    def look(self, storage: Path, before: dict[str, int]) -> list[str]:
        """What stood before must stand as it was: nothing is built twice."""
        after = standing(storage)
        changed = [path for path, when in before.items() if after.get(path) != when]
        return [f"built again or gone: {changed}"] if changed else []


def _is(process: psutil.Process, who: Iterable[Callable[[psutil.Process], bool]]) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return any(is_one(process) for is_one in who)
    return False


def at_work(mark: str, *who: Callable[[psutil.Process], bool]) -> bool:
    """Whether one of those has a process there."""
    return any(_is(found, who) for found in marked_processes(mark))


def gone(mark: str) -> list[str]:
    """Who is left of a launch that has ended, after a while."""
    wait_for(lambda: not processes_with(mark), 20)
    return processes_with(mark)


def wait_for(ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.2)


def standing(storage: Path) -> dict[str, int]:
    """Files of the artifacts that have a record, with their time of writing."""
    files = {}
    for record in storage.glob("artifacts/*/*/record.json"):
        for name in ["record.json", *json.loads(record.read_text())["files"]]:
            files[str(record.with_name(name))] = record.with_name(name).stat().st_mtime_ns
    return files


def tables(results: Results) -> dict[str, Any]:
    """What must not depend on any fault."""
    queries = {
        "metrics": "select * from metrics order by all",
        "curves": "select * from curves order by all",
        "cells": "select cell_id, ordering, seed, status, config_hash from cells order by all",
    }
    return {name: results.sql(query) for name, query in queries.items()}


def compare(one: Results, other: Results) -> list[str]:
    """What differs, and what an artifact's record doesn't fit."""
    first, second = tables(one), tables(other)
    wrong = [f"{name} differ" for name in first if not first[name].equals(second[name])]
    if not all(table.num_rows for table in first.values()):
        wrong.append("there is nothing to compare")
    for cell in other.planned():
        for node in cell.nodes:
            other.store.open(node).verify()
    return wrong


def full_disk(chaos: Chaos, storage: Path) -> None:
    """A launch on a disk that becomes full on the way; its rest will have room."""
    disk = chaos.folder / "disk"
    files = [path for path in (chaos.folder / "undisturbed").rglob("*") if path.is_file()]
    kilobytes = sum(-(-path.stat().st_size // PAGE) for path in files) * PAGE // 1024
    with small_disk(disk, int(kilobytes * chaos.random.uniform(*FULL_AT))):
        status, wrong = chaos.left_alone(disk / "runs", (0, 2))
        if (disk / "runs").is_dir():
            shutil.copytree(disk / "runs", storage)
    chaos.met("a full disk", int(status != 0), wrong)


def poor_writes(chaos: Chaos, storage: Path) -> None:
    """A launch whose every process fails in one write of twenty to the storage."""
    _, wrong = chaos.left_alone(storage, (0, 1, 2), **failing_writes(storage))
    chaos.met("one write in twenty fails", 1, wrong)


def lost_machines(chaos: Chaos, storage: Path, most: int, head_cores: int) -> None:
    """A launch on a simulated cluster whose machine of one core, beside its head, is lost at work
    and replaced, several times."""
    began, done, lost = time.monotonic(), standing(storage), 0
    os.environ |= ENVIRONMENT
    with simulated_machines(head_cores) as machines:
        process, mark = chaos.start(storage, "--address", machines.address)
        while process.poll() is None and lost < most:
            machine = machines.join()
            chaos.await_work(process, machine.mark, WORKER)
            time.sleep(chaos.random.uniform(0.5, 5.0))
            lost += process.poll() is None
            machines.lose(machine)
        machines.join()
        _, wrong = chaos.ended(process, mark, (0,))
        wrong += chaos.look(storage, done)
    chaos.seconds += time.monotonic() - began
    chaos.met("a machine of a cluster is lost", lost, wrong)


def disturb(chaos: Chaos, storage: Path, kills: int, going_on: list[Fault], most: int) -> None:
    """Launch after launch into one storage until the study is done there.

    A launch survives `most` kills at most; three of four meet another that ends them.
    """
    for _ in range(40):
        left = max(kills - chaos.kills, 0)
        ends = left > 0 and chaos.random.random() < 0.75
        ending = chaos.random.choice(ENDING) if ends else None
        status = chaos.launch(storage, going_on, ending, min(chaos.random.randint(1, most), left))
        if status == 0:
            return
    chaos.complaints.append(f"{storage} never came to an end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["mixture", "language"])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--poor", type=int, default=0, help="turns on a full and a failing disk")
    parser.add_argument("--machines", type=int, default=0, help="machines of a cluster to lose")
    asked = parser.parse_args()
    # A job that a shell put into the background ignores Ctrl-C, and so would all it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    mixture = asked.kind == "mixture"
    folder = Path(tempfile.mkdtemp(prefix="rchaos-", dir="/tmp"))
    study = folder / "study.yaml"
    study.write_text(json.dumps(MIXTURE if mixture else LANGUAGE))
    chaos = Chaos(str(study), random.Random(asked.seed), folder)
    began = time.monotonic()
    process, _ = chaos.start(folder / "undisturbed")
    assert chaos._await(process, 1800) == 0, (folder / "stderr").read_text()
    alone = time.monotonic() - began
    print(f"undisturbed: {alone:.0f} s", flush=True)
    name = MIXTURE["name"] if mixture else LANGUAGE["name"]
    reference = rt.open_run(name, folder / "undisturbed")
    storages: list[Path] = []
    turns: list[Callable[[Path], None]] = []
    for _ in range(asked.poor):
        turns += [lambda storage: full_disk(chaos, storage), lambda s: poor_writes(chaos, s)]
    if asked.machines:
        turns.append(lambda storage: lost_machines(chaos, storage, asked.machines, int(mixture)))
    while turns or chaos.kills < asked.kills:
        storage = folder / f"disturbed-{len(storages)}"
        storages.append(storage)
        if turns:
            turns.pop()(storage)
        disturb(chaos, storage, asked.kills, TRIALS if mixture else GROUPS, 8 if mixture else 3)
        wrong = compare(reference, rt.open_run(name, storage))
        chaos.complaints += wrong
        print(f"     done: {'; '.join(wrong) or 'the tables are those of the undisturbed run'}")
    report(chaos, alone, len(storages))
    shutil.rmtree(folder)
    sys.exit(bool(chaos.complaints))


def report(chaos: Chaos, alone: float, studies: int) -> None:
    """The table for the page of benchmarks."""
    print("\n| what | tried | survived | seconds to the end, median and longest |")
    print("| --- | ---: | ---: | ---: |")
    for name, count in sorted(chaos.counts.items()):
        seconds = sorted(count.seconds_to_end)
        took = f"{seconds[len(seconds) // 2]:.1f}, {seconds[-1]:.1f}" if seconds else ""
        print(f"| {name} | {count.tried} | {count.survived} | {took} |")
    survived = sum(count.survived for count in chaos.counts.values())
    print(f"| all | {chaos.kills} | {survived} | |")
    lost = chaos.seconds - studies * alone
    print(f"\n{studies} studies, {lost:.0f} s lost, {lost / max(chaos.kills, 1):.1f} s a kill; "
          f"undisturbed {alone:.0f} s each")  # fmt: skip
    for complaint in chaos.complaints:
        print(f"! {complaint}")


if __name__ == "__main__":
    main()
