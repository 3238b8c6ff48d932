"""Severity against the recall that distillation lost, with the fitted curve."""

from __future__ import annotations

import numpy as np

from recalltrap_analysis.estimates.attainment import ATTAINMENT, with_unit
from recalltrap_analysis.estimates.order_effect import ESTIMATED, severity_title
from recalltrap_analysis.estimates.scaling import ScalingFit
from recalltrap_analysis.figures.scaling import scaling_curve
from recalltrap_analysis.number_format import range_text, setting_text
from recalltrap_analysis.report.document.blocks import Plot, slug


def scaling_plot(
    name: str, fitted: ScalingFit, kl_weight: str | None, source: str, unit: str, query: str
) -> Plot | None:
    """One point per setting, with the curve fitted to them; None where they share one x.

    Args:
        name: What the settings have in common, e.g. their algorithm; may be empty.
        fitted: The fit.
        kl_weight: The setting that weighs the KL penalty, if there is one.
        source: Where severity comes from; an estimate is said to be one.
        unit: Of rewards.
        query: The SQL behind the points, or empty.
    """
    kind = "estimate" if source == ESTIMATED else ""
    in_unit = "" if unit == ATTAINMENT else slug(with_unit("", unit))
    parts = ("scaling", slug(name) if name else "", kind, in_unit)
    stem = "-".join(part for part in parts if part)
    title = severity_title(source)
    settings = fitted.settings
    if settings.empty:
        return Plot(stem, "No setting has both a recall deficit and a severity.")
    drawn = not fitted.reason
    x = settings["x"] if drawn else settings["deficit"]
    if len(np.unique(x.to_numpy(dtype=float).round(9))) < 2:
        return None  # all settings share their references: nothing to see along that axis
    spread = tuple(
        settings[c].to_numpy(dtype=float) for c in ("severity", "severity_low", "severity_high")
    )
    weights = [
        f"{kl_weight} {setting_text(float(value))}" if kl_weight else ""
        for value in settings["penalty"]
    ]
    order = np.argsort(settings["penalty"].to_numpy(), kind="stable")
    points = (x.to_numpy(dtype=float)[order], *(values[order] for values in spread))
    curve = (fitted.xs, fitted.ys, fitted.low, fitted.high) if drawn else None
    figure = scaling_curve(
        points,  # type: ignore[arg-type]  # a tuple of four by construction
        [weights[i] for i in order],
        curve,
        fitted.x_name if drawn else "recall deficit, nats",
        with_unit(title, unit),
    )
    caption = (
        f"{f'{name}: {title}' if name else title.capitalize()} against the recall deficit "
        "(overall recall of p' minus that of p''), one point per setting with its 95 % interval"
    )
    caption += f"; the curve with its band ({fitted.interval})." if drawn else "."
    words = (
        f"Severity from {range_text(settings['severity'])} against recall deficits from "
        f"{range_text(settings['deficit'])} nats over {len(settings)} settings."
    )
    return Plot(stem, caption, words, figure, query)
