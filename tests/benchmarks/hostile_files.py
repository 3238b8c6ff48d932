"""Files that no study can use, from the command line: how each is refused, how soon, in what room.

`python -m tests.benchmarks.hostile_files FOLDER`. Every file goes through `plan` and, in turns,
through `run`, `run --local`, `check` or `submit`, forked from a process that has the libraries
already; every fourth also through one of the five in an interpreter of its own, as a user starts
it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))
from measured_commands import Outcome, measured

from tests.studies.llm.hostile.case import Hostile
from tests.studies.llm.hostile.functions import install
from tests.studies.llm.hostile.generated import every_generated_file
from tests.studies.llm.hostile.studies import Models, every_file, write_study

COMMANDS = {
    "plan": ("plan",),
    "run": ("run",),
    "run --local": ("run", "--local"),
    "check": ("check", "--local"),
    "submit": ("submit", "--address", "http://127.0.0.1:9"),
}
LIBRARIES = (
    "torch", "transformers", "recalltrap.cli.commands", "recalltrap_studies.llm.preflight",
    "recalltrap_studies.llm.rewards.classifier", "pyarrow.parquet", "ray.tune",
    "transformers.models.llama.modeling_llama", "transformers.models.bert.modeling_bert",
)  # fmt: skip
MOST_SECONDS, MOST_MEGABYTES = 5.0, 1000.0
LONGEST = 2_000


@dataclass(frozen=True)
class Asked:
    """A study file and the command that it is given to."""

    case: Hostile
    study: Path
    command: str

    @property
    def storage(self) -> Path:
        """Where nothing may be afterwards."""
        return self.study.with_name(f"storage of {self.command}")

    @property
    def arguments(self) -> list[str]:
        """The whole command line."""
        name, *options = COMMANDS[self.command]
        return [name, str(self.study), "--storage", str(self.storage), *options]


def complaints(asked: Asked, found: Outcome) -> list[str]:
    """What is wrong with how a file was refused."""
    case, said = asked.case, found.errors
    bad = []
    if found.status != 2:
        bad.append(f"status {found.status}")
    if "Traceback" in said or "Error:" in said.partition(": ")[0]:
        bad.append("a traceback")
    lines = [line for line in said.splitlines() if not line.startswith("note: ")]
    if len(lines) != 1 or not said.startswith("recalltrap: "):
        bad.append(f"{len(lines)} lines")
    if case.file not in said:
        bad.append("the file isn't named")
    if case.says and not re.search(case.says, said):
        bad.append(f"doesn't say {case.says!r}")
    if len(said) > LONGEST:
        bad.append(f"{len(said):,} signs long")
    if asked.storage.exists():
        bad.append("something is left in the storage")
    if found.megabytes > MOST_MEGABYTES:
        bad.append(f"{found.megabytes:,.0f} MB")
    if found.seconds > MOST_SECONDS:
        bad.append(f"{found.seconds:.1f} s")
    return bad


def run_all(asked: Sequence[Asked], folder: Path, *, anew: bool) -> list[Outcome]:
    """Each of them, in the order given."""
    found = []
    ran = measured([one.arguments for one in asked], folder, () if anew else LIBRARIES, anew=anew)
    for one, outcome in zip(asked, ran, strict=True):
        found.append(outcome)
        show(one, outcome)
    return found


def show(asked: Asked, found: Outcome) -> None:
    """Print a refusal, and what is wrong with it."""
    bad = complaints(asked, found)
    said = "\n    ".join(found.errors.strip().splitlines()[-3:])
    cost = f"({found.seconds:.1f} s, {found.megabytes:.0f} MB)"
    verdict = "WRONG" if bad else "ok"
    print(f"{verdict} {asked.case.name} | {asked.command}: {'; '.join(bad)} {cost}")
    print(f"    {said[:700]}", flush=True)


def table(how: str, found: Sequence[tuple[Asked, Outcome]]) -> None:
    """Seconds and megabytes by command."""
    by_command: dict[str, list[Outcome]] = defaultdict(list)
    for one, outcome in found:
        by_command[one.command].append(outcome)
    print("| command | files | processor seconds, median and most | MB, median and most |")
    print("| --- | ---: | ---: | ---: |")
    for command, outcomes in by_command.items():
        seconds = [outcome.seconds for outcome in outcomes]
        size = [outcome.megabytes for outcome in outcomes]
        print(f"| {command}, {how} | {len(outcomes)} | {statistics.median(seconds):.2f}, "
              f"{max(seconds):.2f} | {statistics.median(size):.0f}, {max(size):.0f} |")  # fmt: skip


def main() -> int:
    """Everything; how many refusals something is wrong with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="to work in; must not be there yet")
    parser.add_argument("--generated", type=int, default=15, help="of each setting and format")
    parser.add_argument("--only", default="", help="a pattern of the files' names")
    parser.add_argument("--every", type=int, default=4, help="so often one is started anew")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    here, scratch, plugins = folder / "here", folder / "tmp", folder / "plugins"
    for each in (here, scratch, plugins):
        each.mkdir(parents=True)
    os.environ["TMPDIR"] = str(scratch)
    models = Models.made(folder)
    functions = install(plugins)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")])
    rewards = [Hostile(f"function: {name}", "reward", name, lambda path: None, says, name)
               for name, says in functions.items()]  # fmt: skip
    every = [*every_file(models), *rewards, *every_generated_file(arguments.generated)]
    wanted = [case for case in every if re.search(arguments.only, case.name)]
    studies = {case.name: write_study(case, folder / f"case {number}", models)
               for number, case in enumerate(wanted)}  # fmt: skip
    planned = [Asked(case, studies[case.name], "plan") for case in wanted]
    outcomes = run_all(planned, here, anew=False)
    # what hypothesis made may be good
    good = {one.case.name for one, outcome in zip(planned, outcomes, strict=True)
            if "generated" in one.case.name and outcome.status == 0}  # fmt: skip
    kept = [case for case in wanted if case.name not in good]
    others = itertools.cycle(name for name in COMMANDS if name != "plan")
    asked = [Asked(case, studies[case.name], command)
             for case, command in zip(kept, others, strict=False)]  # fmt: skip
    outcomes += run_all(asked, here, anew=False)
    forked = [pair for pair in zip([*planned, *asked], outcomes, strict=True)
              if pair[0].case.name not in good]  # fmt: skip
    turns = itertools.cycle(COMMANDS)
    anew = [Asked(case, studies[case.name], command)
            for case, command in zip(kept[:: arguments.every], turns, strict=False)]  # fmt: skip
    alone = list(zip(anew, run_all(anew, here, anew=True), strict=True))
    print(f"\n{len(kept)} files; {len(good)} generated ones were good\n")
    table("forked", forked)
    table("anew", alone)
    wrong = sum(bool(complaints(*pair)) for pair in (*forked, *alone))
    left = Counter(path.name for place in (here, scratch) for path in place.iterdir())
    print(f"\nleft in the working directory and TMPDIR: {dict(left)}")
    print(f"{wrong} complaints")
    return wrong + len(left)


if __name__ == "__main__":
    sys.exit(bool(main()))
