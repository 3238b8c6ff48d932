"""The page of a check: the sentence, the anchor part, the frontier, the sampling trap, the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recalltrap_analysis.check.findings import Findings, PointFinding
from recalltrap_analysis.check.hits import Hits
from recalltrap_analysis.check.scorers import SHARE
from recalltrap_analysis.check.sentence import Sentence, lines, places
from recalltrap_analysis.estimates.attainment import ATTAINMENT
from recalltrap_analysis.number_format import (
    count_text,
    decimal_text,
    interval_text,
    quantity_text,
    setting_text,
    share_text,
)
from recalltrap_analysis.report.check.plots import anchor_part_plot, frontier_plot
from recalltrap_analysis.report.document.blocks import (
    Block,
    Chapter,
    Document,
    Fold,
    Grid,
    Prose,
    Record,
    Section,
    Terms,
)
from recalltrap_analysis.report.document.tables import grid, records

TITLE = "What the reward picks, by scorers that aren't optimised"
GLOSSARY = (
    ("p', p''", "The large model that is distilled, and the compact one that it was distilled to."),
    (
        "Anchor part",
        "How much more alignment can attain anchored to p' than to p'': the trap's structural "
        "part.",
    ),
    (
        "Effective samples",
        "Where the best alignment is computed by weighing samples of its anchor: how many equally "
        "weighted ones would say as much.",
    ),
    (
        "Best of n",
        "The best of n samples of an anchor, at KL ≤ log n − (n−1)/n nats: a policy without any "
        "training, whose reward n of N samples tell without bias.",
    ),
)


def check_document(
    study: str,
    question: str,
    found: Findings,
    said: Sentence,
    costs: Sequence[tuple[str, str]],
    past: str,
    notes: Sequence[str],
) -> Document:
    """The check of a study as a document.

    Args:
        study: Its name.
        question: What it asks.
        found: What its references say.
        said: The sentence.
        costs: What the whole study would take, as `what` and `value`.
        past: The forecast's measured error, in words.
        notes: What the kind has to say of the study.
    """
    samples = found.kind.reward_samples
    own = [samples.note] if samples is not None and samples.note else []
    remarks = [*own, *(f"note: {note}" for note in notes)]
    section = [
        Section("sentence", "What it rests on", _words(found, past, remarks)),
        Section("anchor-part", "The anchor part to expect", _anchor_blocks(found)),
        Section("frontier", "Reward and KL from each anchor", _frontier_blocks(found)),
        Section("sampling-trap", "The sampling trap", _trap_blocks(found)),
        *([Section("scorers", TITLE, _scorer_blocks(found))] if found.scorers else []),
        Section("cost", "What the rest of the study would cost", [Terms([*costs])]),
    ]
    return Document(
        title=study,
        question=question,
        meta=_about(study, found),
        verdict="",
        sentence=said.text,
        counts="A check before the study: from samples of p' and p'' and the reward, no alignment.",
        chapters=[Chapter("check", "", section)],
        glossary=_glossary(found),
        summary={"check": summary(found, said)},
    )


def summary(found: Findings, said: Sentence) -> dict[str, Any]:
    """What a machine wants first, and what scores the sentence once the study ran."""
    return {
        "word": said.word,
        "sentence": said.text,
        "margin": found.margin,
        "unit": found.unit,
        "axes": list(found.axes),
        "points": records(found.frame),
        **({"scorers": scorer_records(found)} if found.scorers else {}),
    }


def _about(study: str, found: Findings) -> str:
    seeds = max((len(pair.seeds) for pair in found.pairs), default=0)
    prompts = max((len(pair.prime[0].weight_K) for pair in found.pairs), default=0)
    drawn = f"{found.samples:,} samples of each" if found.pairs else "no samples"
    return (
        f"Check of {study} · {count_text(seeds, 'seed')} · "
        f"{count_text(prompts, 'held-out prompt')} · {drawn} · "
        f"{count_text(len(found.points), 'grid point')}"
    )


def _glossary(found: Findings) -> list[tuple[str, str]]:
    unit = (
        "Attainment",
        "(R − R₀) / (R_max − R₀): 0 is p'' before alignment, 1 the reward's supremum.",
    )
    return [*GLOSSARY, *([unit] if found.unit == ATTAINMENT else [])]


def _words(found: Findings, past: str, notes: Sequence[str]) -> list[Block]:
    blocks: list[Block] = [Prose(line, ours=False) for line in (*lines(found), past)]
    return [*blocks, *(Prose(note, "small", ours=False) for note in notes)]


def _anchor_blocks(found: Findings) -> list[Block]:
    plot = anchor_part_plot(found)
    return [*([plot] if plot else []), point_grid(found), Fold("Chosen responses", _chosen(found))]


def point_grid(found: Findings) -> Grid:
    """One row per grid point."""
    text = point_table(found)
    data = records(found.frame) if len(found.frame) else []
    return grid("check: grid points", text, data=data, order=_largest(found))


def _largest(found: Findings) -> list[int]:
    sizes = [-abs(one.part.spread.value) for one in found.points]
    return sorted(range(len(sizes)), key=sizes.__getitem__)


def point_table(found: Findings, most: int | None = None) -> pd.DataFrame:
    """The grid points as text; with `most`, those of the largest anchor parts."""
    points = list(found.points)
    if most is not None and len(points) > most:
        points = [points[place] for place in sorted(_largest(found)[:most])]
    return pd.DataFrame([_point_row(found, one) for one in points])


def _point_row(found: Findings, one: PointFinding) -> dict[str, str]:
    part, decision = one.part, one.decision
    estimate = part.spread.estimate()
    both = (part.prime, part.second)

    def pair(values: Sequence[float]) -> str:
        return " / ".join(quantity_text(value) for value in values)

    return {
        **{axis: setting_text(v) for axis, v in zip(found.axes, one.point, strict=True)},
        "anchor part": interval_text(estimate.value, estimate.low, estimate.high),
        "decides": f"{decimal_text(decision.low)} to {decimal_text(decision.high)}",
        "word": decision.word,
        "best of n": decimal_text(part.best_of_n),
        "reward, p' / p''": pair([anchor.reward for anchor in both]),
        "effective samples, p' / p''": pair([anchor.effective for anchor in both]),
    }


def _chosen(found: Findings) -> list[Block]:
    """What the best responses are like: a reward of words needn't mind gibberish."""
    rows = []
    for one in found.points:
        axes = {a: setting_text(v) for a, v in zip(found.axes, one.point, strict=True)}
        both = (one.part.prime, one.part.second)
        for way in one.part.prime.chosen:
            means = [anchor.chosen[way] for anchor in both]
            rewards = [a.reward if way == "optimum" else a.best_of_n for a in both]
            rows.append(
                {
                    **axes,
                    "chosen by": way if way == "optimum" else f"{way} ({both[0].n} / {both[1].n})",
                    "reward, p' / p''": _pair(rewards),
                    "log p* per token, p' / p''": _pair([m["judge"] for m in means]),
                    "tokens, p' / p''": _pair([m["tokens"] for m in means]),
                    "ended, p' / p''": " / ".join(share_text(m["finished"]) for m in means),
                }
            )
    return [
        Prose(
            "The responses that have the reward: by weight, or the best of n. Beside the reward, "
            "how likely the judge finds them, how long they are, and how many ended by themselves.",
            "small",
        ),
        grid("chosen responses", pd.DataFrame(rows), order=range(len(rows))),
    ]


def _pair(values: Sequence[float]) -> str:
    return " / ".join(decimal_text(value) for value in values)


def _frontier_blocks(found: Findings) -> list[Block]:
    return [frontier_plot(found)] if found.pairs else [Prose("No references stand.", "absent")]


def _trap_blocks(found: Findings) -> list[Block]:
    considered = max((len(of) and of[0].considered for of in found.hits), default=0)
    rows = []
    for pair, of_pair in zip(found.pairs, found.hits, strict=True):
        where = {"references": pair.where} if len(found.pairs) > 1 else {}
        rows += [{**where, **_hit_row(hits)} for hits in of_pair]
    intro = (
        "How often each reference gives a good response, with Wilson's 95 % limits, and the "
        "samples to the first. Good is what few of p' own samples reach; where the reward has a "
        "supremum, nine tenths of it too. A prompt is a trap where one of the two hits at most a "
        "tenth as often as the other, by Fisher's exact test with Holm's correction over all "
        f"{places(found, considered // 2)} in both directions."
    )
    blocks: list[Block] = [Prose(intro, ours=False)]
    blocks.append(grid("hit rates", pd.DataFrame(rows), order=range(len(rows))))
    trapped = [row for pair, of in zip(found.pairs, found.hits, strict=True)
               for hits in of for row in _trapped_rows(pair.where, hits)]  # fmt: skip
    if trapped:
        table = grid("trapped prompts", pd.DataFrame(trapped), order=range(len(trapped)))
        blocks.append(Fold("Where one of the two practically never hits", [table], open=True))
    else:
        few = min((hits.samples for of in found.hits for hits in of), default=0)
        blocks.append(
            Prose(
                f"No prompt is shown to be one. With {few:,} samples of a prompt, only large "
                "differences can be.",
                "small",
            )
        )
    return blocks


def _scorer_blocks(found: Findings) -> list[Block]:
    several = len(found.pairs) > 1
    rows = [
        {
            **({"references": one.where} if several else {}),
            "scorer": one.scorer,
            "of": one.reference,
            "all samples": decimal_text(one.everything),
            "n": str(one.n),
            "best of n by the reward": decimal_text(one.picked),
            "gain, sd under p'": one.text(),
            "reading": one.reading,
        }
        for one in found.scorers
    ]
    words = (
        "The responses that the reward picks, judged by what nothing optimises: the best of n by "
        "the reward against all samples of the same reference, with 95 % intervals "
        f"{found.scorers[0].gain.factors}. The n is the best one at the smallest KL weight, but at "
        f"most a prompt's samples divided by {SHARE}. A reading is of one scorer by itself, by "
        "one-sided 5 % bounds."
    )
    table = grid("scorers", pd.DataFrame(rows), data=scorer_records(found), order=range(len(rows)))
    return [table, Prose(words, "small", ours=False)]


def scorer_records(found: Findings) -> list[Record]:
    """By every scorer what the reward picks, for machines."""
    rows = []
    for one in found.scorers:
        low, high = one.gain.estimate().low, one.gain.estimate().high
        rows.append(
            {"references": one.where, "scorer": one.scorer, "of": one.reference, "n": one.n,
             "all_samples": one.everything, "picked": one.picked, "gain": one.gain.value,
             "gain_low": low, "gain_high": high, "method": one.gain.factors,
             "reading": one.reading}
        )  # fmt: skip
    return records(pd.DataFrame(rows))


def _hit_row(hits: Hits) -> Mapping[str, str]:
    rates = (hits.prime, hits.second)
    texts = [f"{share_text(r.value)} [{share_text(r.low)}, {share_text(r.high)}]" for r in rates]
    return {
        "good": hits.title,
        "reward": decimal_text(hits.threshold),
        "p'": texts[0],
        "p''": texts[1],
        "samples to the first, p' / p''": " / ".join(quantity_text(r.to_first) for r in rates),
        "p'' never, p' does": str(len(hits.of("p_second"))),
        "p' never, p'' does": str(len(hits.of("p_prime"))),
    }


def _trapped_rows(where: str, hits: Hits) -> list[dict[str, str]]:
    names = {"p_second": "p''", "p_prime": "p'"}
    return [
        {
            **({"references": where} if where else {}),
            "good": hits.title,
            "held-out prompt": one.prompt,
            "seed": str(one.seed),
            "never": names[one.rarer],
            "p'": share_text(one.rate_prime.value),
            "p''": f"{share_text(one.rate_second.value)}",
            "p (Holm)": f"{one.p:.2g}",
        }
        for one in hits.trapped
    ]
