"""The error of the forecast anchor part in finished studies, by kind, algorithm and KL weight.

    python tests/benchmarks/forecast_errors.py STORAGE [--write]

With `--write` it renews what `recalltrap check` ships of it, for storages that have no such study.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from recalltrap.results.results import Results, known_runs, run_folder
from recalltrap.store.storage import Storage
from recalltrap_analysis import check
from recalltrap_analysis.check.past_errors import SHIPPED, errors_of, written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storage")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    storage = Storage(given.storage)
    runs = [Results(storage, run_folder(name)) for name in known_runs(storage)]
    errors = errors_of(runs)
    for one in errors:
        print(
            f"{one.kind} {one.algorithm} {one.kl_weight:g}: {one.mean_absolute_error:.3f} "
            f"(bias {one.bias:+.3f}, {one.pairs} pairs of {', '.join(one.studies)})"
        )
    if given.write:
        command = "python tests/benchmarks/forecast_errors.py STORAGE --write"
        path = Path(next(iter(check.__path__))) / SHIPPED
        path.write_text(written(errors, command, datetime.date.today().isoformat()))


if __name__ == "__main__":
    main()
