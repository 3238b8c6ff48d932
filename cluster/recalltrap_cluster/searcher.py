"""The order of trials: a pack starts when what it needs was built and there is room for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from recalltrap.run.plan import Pack
from recalltrap_cluster.placement.admission import Admission


class PackSearcher(Searcher):
    """Hands Tune one pack per trial, parents first.

    Tune asks again when there's nothing ready yet. A pack whose parents failed is still handed
    out: it builds what it can, and records why the rest of its cells are missing.

    Args:
        packs: parents first.
        admission: whether there is room for one more.
        early: how many packs may be handed out before their parents have ended. Their actors
            start meanwhile, and stay through a lull. Fewer than run at once, or a parent that is
            tried again may find no place.
        marks: a folder where a file with a pack's id says that the pack has ended: a trial that
            was handed out early looks there.
    """

    def __init__(
        self,
        packs: tuple[Pack, ...],
        admission: Admission,
        early: int = 0,
        marks: Path | None = None,
    ) -> None:
        super().__init__()
        self.waiting = {pack.id: pack for pack in packs}
        self.admission = admission
        self.early = early
        self.marks = marks
        self.trials: dict[str, Pack] = {}
        self.ended: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """The next pack's configuration, None while none may start, FINISHED at the end."""
        if not self.waiting:
            return Searcher.FINISHED
        ready = [name for name, pack in self.waiting.items() if self._is_ready(pack)]
        chosen = self.admission.choose(ready)
        if chosen is None:
            if ready or sum(not self._is_ready(p) for p in self.trials.values()) >= self.early:
                return None
            chosen = self.admission.choose([next(iter(self.waiting))])
            if chosen is None:
                return None
        pack = self.waiting.pop(chosen)
        self.trials[trial_id] = pack
        return trial_config(pack)

    @property
    def unfinished(self) -> list[Pack]:
        """Packs that never started, or whose trials haven't ended."""
        begun = [pack for pack in self.trials.values() if pack.id not in self.ended]
        return [*begun, *self.waiting.values()]

    def _is_ready(self, pack: Pack) -> bool:
        return pack.needs <= self.ended

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        pack = self.trials[trial_id].id
        if self.marks is not None:
            (self.marks / pack).touch()
        self.ended.add(pack)
        self.admission.end(pack)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the tables say what is done, and the next plan leaves it out."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""


def trial_config(pack: Pack) -> dict[str, Any]:
    """What Tune's results show of a trial: the setting itself, its seeds, the pack's id."""
    config = {name: value for name, value in pack.config.items() if name != "factors"}
    return {**config, **pack.config["factors"], "seeds": pack.seeds, "pack": pack.id}
