"""The error of the forecast anchor part in finished studies, by kind, algorithm and KL weight.

    python tests/benchmarks/forecast_errors.py STORAGE [--write]

With `--write` it renews what `recalltrap check` ships of it, for storages that have no such study:
what is shipped of other studies stays, and both are taken together.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recalltrap.results.results import Results, known_runs, run_folder
from recalltrap.store.storage import Storage
from recalltrap_analysis import check
from recalltrap_analysis.check.past_errors import SHIPPED, PastError, errors_of, shipped, written


def together(shipped: Sequence[PastError], found: Sequence[PastError]) -> list[PastError]:
    """Found errors, and those shipped of other studies than they come from."""

    def key(one: PastError) -> tuple[str, str, str, float]:
        return one.kind, one.algorithm, one.unit, one.kl_weight

    errors = {key(one): one for one in shipped}
    for one in found:
        before = errors.get(key(one))
        if before is not None and not {*before.studies} & {*one.studies}:
            pairs = before.pairs + one.pairs
            means = {
                name: (before.pairs * getattr(before, name) + one.pairs * getattr(one, name))
                / pairs
                for name in ("mean_absolute_error", "bias")
            }
            studies = tuple(sorted({*before.studies, *one.studies}))
            one = replace(one, pairs=pairs, studies=studies, **means)
        errors[key(one)] = one
    return [errors[name] for name in sorted(errors)]


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
        path.write_text(
            written(together(shipped(), errors), command, datetime.date.today().isoformat())
        )


if __name__ == "__main__":
    main()
