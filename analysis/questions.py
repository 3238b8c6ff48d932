"""Three questions about a small study, answered with the Python API: SQL, pandas and Tune's grid.

    python analysis/questions.py [--storage FOLDER] [--study mog/quick] [-o FIELD=VALUE ...]

Runs the study first if it hasn't run. Every answer is a table, printed, and returned by its
function for a notebook.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

import recalltrap as rt
from recalltrap.streams import stream
from recalltrap_analysis.runs.sql import order_effect_query
from recalltrap_analysis.statistics.paired import mean_interval


def how_deep_is_the_trap(results: rt.Results) -> pa.Table:
    """SQL: the mean order effect at every grid point, by the query that the report prints."""
    return results.sql(order_effect_query(results.axes, results.summary.reward_unit))


def what_does_the_lead_cost(results: rt.Results) -> pd.DataFrame:
    """pandas: what A-K gains in reward and pays in recall, paired over seeds, with intervals."""
    metrics = results.frame("metrics")
    final = metrics[(metrics["model"] == "final") & metrics["ordering"].isin(["A-K", "K-A"])]
    wide = final.pivot_table(
        index=[*results.axes, "seed"], columns=["metric", "ordering"], values="value"
    ).dropna()
    rows = []
    for metric in ("reward", "overall_recall"):
        difference = wide[metric, "A-K"] - wide[metric, "K-A"]
        points = (
            difference.groupby(level=list(results.axes)) if results.axes else [("", difference)]
        )
        for point, values in points:
            found = mean_interval(values.to_numpy(), stream(0, "analysis/questions"))
            rows.append((metric, point, found.value, found.low, found.high, found.method))
    columns = ["metric", "point", "A-K minus K-A", "low", "high", "method"]
    return pd.DataFrame(rows, columns=columns)


def which_trials_took_longest(results: rt.Results) -> pd.DataFrame:
    """Tune's own `ResultGrid`: the trials by their time, with the stage that each ended in."""
    frame: pd.DataFrame = results.result_grid().get_dataframe()
    wanted = ["trial_id", "stage", "step", "time_total_s"]
    kept = frame[[name for name in wanted if name in frame.columns]]
    return kept.sort_values("time_total_s", ascending=False).reset_index(drop=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="three questions about a small study")
    parser.add_argument("--storage", help="folder of the results; default RECALLTRAP_STORAGE")
    parser.add_argument("--study", default="mog/quick")
    parser.add_argument("-o", dest="overrides", action="append", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args(arguments)
    results = rt.run(options.study, storage=options.storage, overrides=options.overrides)
    print(f"{results.study.question}\n({results.folder})")
    print("\n1. How deep is the trap?\n")
    print(how_deep_is_the_trap(results).to_pandas().to_string(index=False))
    print("\n2. What does A-K's lead cost in recall?\n")
    print(what_does_the_lead_cost(results).to_string(index=False))
    print("\n3. Which trials took longest?\n")
    print(which_trials_took_longest(results).to_string(index=False))


if __name__ == "__main__":
    main()
