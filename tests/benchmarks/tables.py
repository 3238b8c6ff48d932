"""Time and memory of the order effect query over ten million metric rows, as Parquet parts on disk.

    python tests/benchmarks/tables.py [--rows 10000000] [--storage FOLDER] [--repeats 3]

Writes a synthetic run of the kind `mog` in the layout of a real one (planned, and a part of cells
and of metrics for every pack), then opens it as a user would. `first` includes reading the folder.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

import recalltrap as rt
from recalltrap.registry import find_kind
from recalltrap.results.results import run_folder
from recalltrap.results.table_parts import write_part
from recalltrap.results.tables import factor_fields, table_schema
from recalltrap.store.storage import Storage
from recalltrap.study.study import Study
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.sql import RewardUnit, order_effect_query

MODELS = ("p_prime", "p_second", "final")
METRICS = ("overall_precision", "overall_recall", "target_precision", "reward")
EXTRA = ("hit_rate", "kl_penalty_at_target", "optimum_reward", "optimum_target_precision")
ROWS = [(m, x) for m in MODELS for x in METRICS] + [(m, x) for m in MODELS[:2] for x in EXTRA]
SEEDS = 1000
CELLS_A_PART = 2000
GRID: dict[str, tuple[Any, ...]] = {
    "teacher_sharpness": (1.25, 10.0),
    "student_components": (4, 3),
    "kl_weight": (),
}


def study_of(rows: int) -> Study:
    """A study with about so many metric rows: K-A and A-K, 1000 seeds, as many kl_weights."""
    points = max(1, round(rows / len(ROWS) / SEEDS / 2 / 4))
    grid = {**GRID, "kl_weight": tuple(round(0.01 * (i + 1), 2) for i in range(points))}
    return Study(
        name="mog/ten-million", kind="mog", question="How fast are the tables?",
        orderings=["K-A", "A-K"], seeds=SEEDS, grid=grid,
    )  # fmt: skip


def write_run(storage: Storage, study: Study) -> int:
    """Write the synthetic run; returns its number of metric rows."""
    storage.prepare()
    folder = run_folder(study.name)
    kind = find_kind(study.kind)
    fields = factor_fields(kind.settings)
    generator = np.random.default_rng(0)
    cells = [
        {"ordering": ordering.name, "seed": seed, "point": point}
        for point in study.points()
        for ordering in study.orderings
        for seed in study.seeds
    ]
    defaults = kind.settings().model_dump(mode="json")
    parts, written = [], 0
    for number, start in enumerate(range(0, len(cells), CELLS_A_PART)):
        chunk = cells[start : start + CELLS_A_PART]
        identity = identity_columns(chunk, start, defaults, fields)
        parts.append(identity)
        metrics = metric_rows(identity, generator)
        write_part(storage, folder, "metrics", f"{number:05d}", metrics)
        write_part(storage, folder, "cells", f"{number:05d}", cell_rows(identity, study))
        written += metrics.num_rows
    planned = pa.concat_tables(parts)
    hashes = pa.array(["0" * 20] * planned.num_rows)
    planned = planned.append_column("config_hash", hashes)
    planned = planned.select(table_schema("planned", fields).names)
    planned = planned.cast(table_schema("planned", fields))
    write_part(storage, folder, "planned", "study", planned)
    storage.write(f"{folder}/study.yaml", study.to_yaml().encode())
    return written


def identity_columns(
    chunk: Sequence[dict[str, Any]], start: int, defaults: dict[str, Any], fields: list[pa.Field]
) -> pa.Table:
    """cell_id, ordering, seed and the settings of some cells."""
    columns: dict[str, pa.Array] = {
        "cell_id": pa.array(
            [f"{(start + i) * 2654435761 % 2**64:020x}" for i in range(len(chunk))]
        ),
        "ordering": pa.array([cell["ordering"] for cell in chunk]),
        "seed": pa.array([cell["seed"] for cell in chunk], pa.int64()),
    }
    for field in fields:
        values = [cell["point"].get(field.name, defaults[field.name]) for cell in chunk]
        columns[field.name] = pa.array(values, field.type)
    return pa.table(columns)


def metric_rows(identity: pa.Table, generator: np.random.Generator) -> pa.Table:
    """All metrics of some cells; A-K's reward leads by kl_weight."""
    cells, count = identity.num_rows, len(ROWS)
    table = identity.take(pa.array(np.repeat(np.arange(cells), count)))
    model = np.tile([m for m, _ in ROWS], cells)
    metric = np.tile([x for _, x in ROWS], cells)
    value = generator.normal(2.0, 0.3, size=cells * count)
    lead = (table["ordering"].to_numpy() == "A-K") & (model == "final") & (metric == "reward")
    value = value + lead * table["kl_weight"].to_numpy()
    size = cells * count
    for name, column in (
        ("model", pa.array(model)), ("metric", pa.array(metric)), ("value", pa.array(value)),
        ("standard_error", pa.array(np.full(size, 0.01))),
        ("samples", pa.array(np.full(size, 4096))),
        ("scorer", pa.array(["oracle"] * size)),
    ):  # fmt: skip
        table = table.append_column(name, column)
    schema = table_schema("metrics", factor_fields(find_kind("mog").settings))
    return table.select(schema.names).cast(schema)


def cell_rows(identity: pa.Table, study: Study) -> pa.Table:
    """A part of `cells`: all of them succeeded."""
    schema = table_schema("cells", factor_fields(find_kind("mog").settings))
    constant: dict[str, Any] = {
        "study": study.name, "kind": study.kind, "status": "succeeded", "attempt": 1,
        "started_at": 0, "wall_seconds": 0.1, "trial_id": "local", "config_hash": "0" * 20,
    }  # fmt: skip
    table = identity
    for name, value in constant.items():
        column = pa.array([value] * identity.num_rows).cast(schema.field(name).type)
        table = table.append_column(name, column)
    return table.select(schema.names).cast(schema)


def measure(storage: str, study: Study, repeats: int) -> None:
    """Print the time of the order effect query, the first and the later ones, and peak memory."""
    query = order_effect_query(study.axes, RewardUnit(record_of(study.kind).reward_supremum))
    before = psutil.Process().memory_info().rss
    results = rt.open_run(study.name, storage)
    for attempt in range(repeats):
        started = time.perf_counter()
        table = results.sql(query)
        seconds = time.perf_counter() - started
        name = "first" if attempt == 0 else f"query {attempt + 1}"
        print(f"| {name} | {seconds:.2f} s | {table.num_rows} rows |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    held = psutil.Process().memory_info().rss - before
    print(f"| memory | peak of the process {peak / 1e9:.2f} GB | held {held / 1e9:.2f} GB |")


def main() -> None:
    parser = argparse.ArgumentParser(description="time the order effect query")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--storage", help="folder to keep the run in; an existing one is reused")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    study = study_of(options.rows)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.storage or str(Path(temporary) / "runs")
        if not (Path(folder) / run_folder(study.name) / "study.yaml").exists():
            started = time.perf_counter()
            rows = write_run(Storage(folder), study)
            print(f"{rows:,} metric rows of {study.size:,} cells written in "
                  f"{time.perf_counter() - started:.0f} s")  # fmt: skip
        measure(folder, study, options.repeats)


if __name__ == "__main__":
    main()
