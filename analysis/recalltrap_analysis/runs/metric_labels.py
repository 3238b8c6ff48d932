"""What metrics are called in figures and tables: as their kind says, in its order."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from recalltrap.kind import Metric, metric_of


def metric_labels(metrics: Mapping[str, Metric], wanted: Collection[str]) -> dict[str, str]:
    """Title and unit of the metrics wanted, in the order of the kind's own list.

    Those that the list lacks come last, by their own names.
    """
    names = [name for name in metrics if name in wanted]
    names += [name for name in wanted if name not in metrics]
    return {name: metric_of(metrics, name).label for name in names}
