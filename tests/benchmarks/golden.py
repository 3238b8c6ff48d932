"""Golden numbers: what all mixture studies and a language study say, to compare two commits by.

    python tests/benchmarks/golden.py take FOLDER
    python tests/benchmarks/golden.py compare BEFORE AFTER

`take` runs every mixture study with two seeds, and a language study of every algorithm and ordering
at the smallest size, in this process, and keeps their tables, the hashes of all artifacts' files
and two reports as JSON. `compare` wants every row and file of BEFORE in AFTER with the same bits;
columns and metrics that AFTER has besides are named. Reports are compared by their numbers, in
order: texts may change. Numbers depend on the machine and on torch's version, so both folders come
from one machine.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import recalltrap as rt

LANGUAGE = """
name: golden/language
kind: llm
question: Does every algorithm say what it said?
orderings: [K-A, A-K, A, K, "K-A@p'", K-A-K]
seeds: 1
grid:
  algorithm: [ppo, grpo, rloo, dpo_online, dpo_offline]
settings:
  p_star: nano-small
  p_prime: nano-small
  corpus_sentences: 300
  p_star_epochs: 1
  training_samples: 200
  heldout_samples: 32
  p_prime_epochs: 1
  distill_epochs: 1
  target_epochs: 1
  iterations: 4
  rollout_size: 32
  minibatch_size: 8
  oracle_samples: 64
  evaluation_samples: 64
  preference_noise: 0.1
  reward_shaping: fold
"""
"""`preference_noise` is read by the pairs' algorithms alone; see `language_studies`."""

KEYS = {
    "cells": ("cell_id",),
    "metrics": ("cell_id", "model", "metric"),
    "curves": ("cell_id", "stage", "step", "metric"),
}
TIMES = {"started_at", "wall_seconds", "trial_id", "attempt", "study"}
NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
REPORTS = ("mog/quick", "golden/language-pairs")


def mixture_studies() -> list[str]:
    """The named studies of the kind `mog`."""
    folder = Path(__file__).parents[2] / "studies/recalltrap_studies/mog/named"
    return sorted(f"mog/{path.stem}" for path in folder.glob("*.yaml"))


def language_studies(folder: Path) -> list[Path]:
    """Two study files: the algorithms that learn from rewards, and those that learn from pairs."""
    rewards = LANGUAGE.replace(", dpo_online, dpo_offline", "").replace(
        "  preference_noise: 0.1\n", ""
    )
    pairs = LANGUAGE.replace("ppo, grpo, rloo, ", "").replace(
        "rollout_size: 32", "rollout_size: 16"
    )
    files = []
    for name, text in (("rewards", rewards), ("pairs", pairs)):
        file = folder / f"{name}.yaml"
        file.write_text(text.replace("golden/language", f"golden/language-{name}"))
        files.append(file)
    return files


def take(folder: Path, which: str = "all") -> None:
    """Run the studies and keep what they say."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted: list[str | Path] = []
    if which in ("all", "mog"):
        wanted += mixture_studies()
    if which in ("all", "llm"):
        wanted += language_studies(folder)
    storage = folder / f"runs-{which}"
    for study in wanted:
        results = rt.run(study, seeds=None if isinstance(study, Path) else 2,
                         storage=storage, local=True)  # fmt: skip
        name = Path(results.folder).name
        for table in KEYS:
            rows = results.table(table)
            pq.write_table(rows, folder / f"{name}.{table}.parquet")
        if f"{Path(results.folder).parent.name}/{name}" in REPORTS:
            from recalltrap.registry import room

            room("report")(results, form="json")
        print(study, flush=True)
    files = {
        str(path.relative_to(storage)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(storage.glob("artifacts/*/*/*"))
        if path.name != "record.json"
    }
    (folder / f"artifacts-{which}.json").write_text(json.dumps(files, indent=0))


def compare(before: Path, after: Path) -> int:
    """Print every difference; returns how many there are."""
    differences: list[str] = []
    for path in sorted(before.glob("*.parquet")):
        table = path.name.split(".")[-2]
        differences += tables_differ(
            path.name, pq.read_table(path), pq.read_table(after / path.name), KEYS[table]
        )
    for path in sorted(before.glob("artifacts-*.json")):
        old, new = json.loads(path.read_text()), json.loads((after / path.name).read_text())
        gone = [name for name in old if name not in new]
        runs = path.stem.replace("artifacts", "runs")
        other = [
            name
            for name in old
            if name in new
            and new[name] != old[name]
            and not same_table(before / runs / name, after / runs / name)
        ]
        differences += [f"artifact file gone: {name}" for name in gone]
        differences += [f"artifact file differs: {name}" for name in other]
        print(f"{path.name}: {len(old)} files, {len(set(new) - set(old))} new")
    for path in sorted(before.glob("runs-*/studies/**/report/report.json")):
        old_numbers = numbers(json.loads(path.read_text()))
        new_numbers = numbers(json.loads((after / path.relative_to(before)).read_text()))
        missing = multiset(old_numbers, new_numbers)
        differences += [f"{path.parts[-3]}: the report lacks {number}" for number in missing[:20]]
        print(f"{path.relative_to(before)}: {len(old_numbers)} numbers, {len(missing)} missing")
    print("\n".join(differences) or "identical")
    return len(differences)


def same_table(one: Path, two: Path) -> bool:
    """Whether two files are Parquet and hold the same rows, however they are compressed."""
    if one.suffix != ".parquet":
        return False
    return bool(pq.read_table(one).equals(pq.read_table(two)))


def tables_differ(name: str, old: pa.Table, new: pa.Table, keys: tuple[str, ...]) -> list[str]:
    """What a table says otherwise; both in the order of their keys."""
    old, new = (table.sort_by([(key, "ascending") for key in keys]) for table in (old, new))
    added = set(new.column_names) - set(old.column_names)
    if added:
        print(f"{name}: new columns {sorted(added)}")
    joined = [tuple(row.values()) for row in old.select(keys).to_pylist()]
    wanted = set(joined)
    kept = [tuple(row.values()) in wanted for row in new.select(keys).to_pylist()]
    if len(kept) != sum(kept):
        print(f"{name}: {len(kept) - sum(kept)} new rows")
    new = new.filter(pa.array(kept, pa.bool_()))
    if old.num_rows != new.num_rows:
        return [f"{name}: {old.num_rows} rows before, {new.num_rows} of them after"]
    found = []
    for column in old.column_names:
        if column in TIMES:
            continue
        if column not in new.column_names:
            found.append(f"{name}: no column {column}")
            continue
        one, two = old[column].to_pylist(), new[column].to_pylist()
        unequal = [(a, b) for a, b in zip(one, two, strict=True) if a != b and (a == a or b == b)]
        if unequal:
            a, b = unequal[0]
            found.append(f"{name}: {column} differs in {len(unequal)} rows, first {a!r} -> {b!r}")
    return found


def numbers(content: Any) -> list[str]:
    """The numbers of a report, as it writes them, without clocks and places."""
    if isinstance(content, dict):
        if content.get("key") in ("cost", "provenance", "gaps"):
            return []  # clocks and places
        skip = ("svg", "pdf", "provenance")
        return [n for key, value in content.items() if key not in skip for n in numbers(value)]
    if isinstance(content, list):
        return [number for value in content for number in numbers(value)]
    if isinstance(content, bool) or content is None:
        return []
    return [repr(content)] if isinstance(content, int | float) else NUMBER.findall(str(content))


def multiset(old: list[str], new: list[str]) -> list[str]:
    """The numbers of `old` that `new` doesn't have as often."""
    left = list(new)
    missing = []
    for number in old:
        if number in left:
            left.remove(number)
        else:
            missing.append(number)
    return missing


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "take":
        take(Path(arguments[0]), *arguments[1:])
    else:
        sys.exit(bool(compare(*map(Path, arguments))))
