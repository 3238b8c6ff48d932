"""What the intervals were measured to cover: the calibration's numbers, and sentences about them.

`tests/benchmarks/calibration.py --write` makes the numbers; nothing is simulated here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

LEAST, MOST = 0.93, 0.97
FILE = "coverage.json"

SHAPES: Mapping[str, str] = {
    "normal": "normal data",
    "mode of 5 in 10": "two modes, half of the seeds in each",
    "mode of 3 in 10": "two modes, 3 seeds in 10 in the second",
    "mode of 1 in 10": "two modes, 1 seed in 10 in the second",
    "lognormal": "lognormal data",
}


@dataclass(frozen=True)
class Coverage:
    """How often a method's nominal 95 % interval of a mean held the true one.

    `width` is the interval's median width in units of the data's true sd.
    """

    method: str
    shape: str
    seeds: int
    share: float
    width: float


@dataclass(frozen=True)
class VerdictRate:
    """How often studies whose true order effect is the margin were misjudged, and how.

    `larger`, `small`: the share called larger than the margin on average over the grid, and called
    within it, not larger or smaller; `any_point`: with a grid point called larger.
    """

    shape: str
    seeds: int
    points: int
    larger: float
    small: float
    any_point: float


@dataclass(frozen=True)
class RuleRate:
    """How often a rule of the claims ledger gave each verdict, on data with a known answer.

    `holds` says whether the claim is true of the data; empty where it is neither true nor false
    (a difference of exactly the margin is false).
    """

    rule: str
    data: str
    truth: str
    holds: str
    seeds: int
    reproduced: float
    not_reproduced: float
    mixed: float
    undecided: float


@dataclass(frozen=True)
class Calibration:
    """One calibration: when and how it was made, and what it found."""

    date: str
    command: str
    simulations: int
    coverage: tuple[Coverage, ...]
    verdicts: tuple[VerdictRate, ...] = ()
    verdicts_made: str = ""
    """When and how the verdicts' rates were made."""
    rules: tuple[RuleRate, ...] = ()
    rules_made: str = ""
    """When and how the rules' rates were made."""

    def as_json(self) -> str:
        """What `read` reads."""
        content: dict[str, Any] = {
            "date": self.date,
            "command": self.command,
            "simulations": self.simulations,
            "coverage": [list(vars(row).values()) for row in self.coverage],
            "verdicts": [list(vars(row).values()) for row in self.verdicts],
            "verdicts_made": self.verdicts_made,
            "rules": [list(vars(row).values()) for row in self.rules],
            "rules_made": self.rules_made,
        }
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def read(cls, text: str) -> Calibration:
        content = json.loads(text)
        return cls(
            content["date"],
            content["command"],
            content["simulations"],
            tuple(Coverage(*row) for row in content["coverage"]),
            tuple(VerdictRate(*row) for row in content["verdicts"]),
            content["verdicts_made"],
            tuple(RuleRate(*row) for row in content["rules"]),
            content["rules_made"],
        )


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    """The calibration that came with this version."""
    return Calibration.read((resources.files(__package__) / FILE).read_text())


def covers(method: str, n: int) -> str:
    """Where a method's intervals at n seeds cover less or more than 93 to 97 %, in a sentence.

    The numbers are those of the largest calibrated size that n reaches. Says of every shape that
    falls short whether any other method would do. Empty for a method that wasn't calibrated.
    """
    rows = calibration().coverage
    sizes = sorted({row.seeds for row in rows if row.seeds <= n})
    if not sizes or method not in {row.method for row in rows}:
        return ""
    at_size = [row for row in rows if row.seeds == sizes[-1]]
    mine = {row.shape: row for row in at_size if row.method == method}
    words = [
        _share(row, [other for other in at_size if other.shape == shape])
        for shape, row in mine.items()
        if not LEAST <= row.share <= MOST
    ]
    good = [SHAPES[shape] for shape, row in mine.items() if LEAST <= row.share <= MOST]
    start = f"{method} at {sizes[-1]} seeds covers 93 to 97 % of the time on "
    kept = start + (" and ".join(good) if good else "none of the shapes tried")
    return kept + ("; " + "; ".join(words) if words else "") + "."


def _share(row: Coverage, others: Sequence[Coverage]) -> str:
    text = f"{100 * row.share:.0f} % on {SHAPES[row.shape]}"
    if row.share > MOST:
        return f"{text} (wider than it need be)"
    best = max(others, key=lambda other: other.share)
    if best.share < LEAST:
        return f"{text}, where no method covers"
    return f"{text}, where {best.method} covers {100 * best.share:.0f} %"


def markdown(found: Calibration) -> str:
    """The calibration as tables in Markdown; coverage outside 93 to 97 % is marked by a star."""
    methods = list(dict.fromkeys(row.method for row in found.coverage))
    sizes = sorted({row.seeds for row in found.coverage})
    shares = {(row.shape, row.seeds, row.method): row for row in found.coverage}
    lines = [
        f"{found.date}, `{found.command}`: {found.simulations} simulations each. Coverage of the "
        "nominal 95 % interval of a mean, and its median width in true sds; * outside 93 to 97 %.",
        "",
        "| data | seeds | " + " | ".join(methods) + " |",
        "| --- | --- |" + " --- |" * len(methods),
    ]
    for shape in dict.fromkeys(row.shape for row in found.coverage):
        for n in sizes:
            cells = (_cell(shares[shape, n, method]) for method in methods)
            lines.append(f"| {SHAPES[shape]} | {n} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Whole studies whose true order effect is the margin at every grid point, "
        f"{found.verdicts_made}: the share whose mean over the grid is called larger than the "
        "margin, the share where it is called within the margin, not larger or smaller, and the "
        "share with a grid point called larger (Holm); each should be at most 5 %.",
        "",
        "| differences | seeds | grid points | larger | small | larger at any point |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.shape} | {row.seeds} | {row.points} | {row.larger:.3f} | {row.small:.3f} "
        f"| {row.any_point:.3f} |"
        for row in found.verdicts
    ]
    return "\n".join(lines + _rules_lines(found)) + "\n"


def _rules_lines(found: Calibration) -> list[str]:
    """Each rule's verdicts by truth and data, a column for each number of seeds."""
    sizes = sorted({row.seeds for row in found.rules})
    lines = [
        "",
        f"The rules of the claims ledger, {found.rules_made}: percent of strata that are "
        "reproduced / not reproduced / mixed (the rest is undecided); * where "
        "more than 5 % contradict the truth.",
        "",
        "| rule | the truth | so the claim holds | data | "
        + " | ".join(f"{n} seeds" for n in sizes)
        + " |",
        "| --- | --- | --- | --- |" + " --- |" * len(sizes),
    ]
    rows = {(row.rule, row.truth, row.holds, row.data, row.seeds): row for row in found.rules}
    for start in dict.fromkeys(key[:-1] for key in rows):
        cells = " | ".join(_rule_cell(rows[*start, n]) for n in sizes)
        lines.append(f"| {' | '.join(word or '–' for word in start)} | {cells} |")
    return lines


def _rule_cell(row: RuleRate) -> str:
    wrong = {"no": row.reproduced, "yes": row.not_reproduced + row.mixed}.get(row.holds, 0.0)
    shares = (row.reproduced, row.not_reproduced, row.mixed)
    return " / ".join(f"{100 * s:.0f}" for s in shares) + "*" * (wrong > 0.05)


def _cell(row: Coverage) -> str:
    mark = "" if LEAST <= row.share <= MOST else "*"
    return f"{row.share:.2f}{mark} ({row.width:.2f})"
