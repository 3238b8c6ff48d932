"""What may stand as `reward` or among `scorers`: the oracle, a function, or a classifier.

A function is known by the name of its entry point, a sequence classifier by folder or hub id.
Light to import; whether a value can be had is `checks`' business.
"""

from __future__ import annotations

from typing import Any, Literal

from recalltrap.graph import Node
from recalltrap_studies.llm.rewards.functions import is_function, source_of
from recalltrap_studies.llm.stage_settings import ORACLE

REWARD, SCORERS = "reward", "scorers"
"""The settings; a stage's configuration calls a function so too, and its parents a classifier."""

Sort = Literal["oracle", "function"]


def sort_of(spec: str) -> Sort:
    """What a value is."""
    return "oracle" if spec == ORACLE else "function"


def function_config(place: str, name: str) -> dict[str, Any]:
    """What a stage's configuration says of a function: its name, and the file that it stands in
    unless it is one of ours."""
    source = source_of(name) if is_function(name) else None
    return {place: name} if source is None else {place: name, source_place(place): source}


def source_place(place: str) -> str:
    """What a configuration calls the file of a function."""
    return f"{place}_source"


def is_at(node: Node, place: str) -> bool:
    """Whether a node judges by something at a place."""
    return place in node.config


def name_at(node: Node, place: str) -> str:
    """What tables call what a node judges by at a place."""
    return str(node.config[place])


def check_rewards(settings: Any) -> None:
    """Refuse scorers that say what is known already.

    Raises:
        ValueError: names the scorer and the way out.
    """
    scorers = list(settings.scorers)
    if ORACLE in scorers:
        raise ValueError(
            "scorers: the oracle can be the reward alone, for p_target is made for it; where it is "
            "the reward every model's oracle reward is measured anyway. Leave it out"
        )
    if settings.reward in scorers:
        raise ValueError(
            f"scorers: {settings.reward!r} is the reward, which every model is judged by anyway. "
            "Leave it out"
        )
    twice = next((name for at, name in enumerate(scorers) if name in scorers[:at]), None)
    if twice is not None:
        raise ValueError(f"scorers: {twice!r} stands there twice. Leave one out")
