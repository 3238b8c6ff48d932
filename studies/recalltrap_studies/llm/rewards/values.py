"""What may stand as `reward` or among `scorers`: the oracle, a function, or a classifier.

A function is known by the name of its entry point, a sequence classifier by folder or hub id.
Light to import; whether a value can be had is `checks`' business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from recalltrap.graph import Node
from recalltrap.paths import resolve
from recalltrap.store.contents import Content, remembered
from recalltrap_studies.llm.contents import loaded
from recalltrap_studies.llm.fingerprints import MODEL_FILES
from recalltrap_studies.llm.models.architectures import is_folder
from recalltrap_studies.llm.rewards.functions import is_function, source_of
from recalltrap_studies.llm.stage_settings import ORACLE

REWARD, SCORERS = "reward", "scorers"
"""The settings; a stage's configuration calls a function so too, and its parents a classifier."""

Sort = Literal["oracle", "function", "classifier"]


def sort_of(spec: str) -> Sort:
    """What a value is: an installed function goes before a folder of its name, and what is neither
    a path nor a hub id is a function that isn't installed."""
    if spec == ORACLE:
        return "oracle"
    source, _ = labelled(spec)
    if is_function(spec):
        return "function"
    known = "/" in source or is_folder(source) or remembered(source, MODEL_FILES) is not None
    return "classifier" if known else "function"


def labelled(spec: str) -> tuple[str, str | None]:
    """A scorer's classifier and its label, which may follow a `#`."""
    if is_folder(spec):
        return spec, None
    source, _, label = spec.partition("#")
    return source, label or None


def function_config(place: str, name: str) -> dict[str, Any]:
    """What a stage's configuration says of a function: its name, and the file that it stands in
    unless it is one of ours."""
    source = source_of(name) if is_function(name) else None
    return {place: name} if source is None else {place: name, source_place(place): source}


def source_place(place: str) -> str:
    """What a configuration calls the file of a function."""
    return f"{place}_source"


def classifier_config(place: str, label: str | None, sigmoid: bool) -> dict[str, Any]:
    """What a stage's configuration says of a classifier, whose weights are a parent."""
    named = {} if label is None else {label_place(place): label}
    return {**named, sigmoid_place(place): True} if sigmoid else named


def label_place(place: str) -> str:
    """What a configuration calls the label of a classifier."""
    return f"{place}_label"


def sigmoid_place(place: str) -> str:
    """By what a configuration says that a classifier's logit goes through a sigmoid."""
    return f"{place}_sigmoid"


def is_at(node: Node, place: str) -> bool:
    """Whether a node judges by something at a place."""
    return place in node.config or place in node.parents


def name_at(node: Node, place: str) -> str:
    """What tables call what a node judges by at a place."""
    if place in node.config:
        return str(node.config[place])
    _, identity = loaded(node.parents[place])
    name = Path(identity.path).name if isinstance(identity, Content) else str(identity)
    label = node.config.get(label_place(place))
    return name if label is None or place == REWARD else f"{name}#{label}"


def shown_name(spec: str) -> str:
    """What tables call a scorer: a folder by its name."""
    source, label = labelled(spec)
    if not is_folder(source):
        return spec
    name = Path(resolve(source, f"settings.{SCORERS}")).name
    return name if label is None else f"{name}#{label}"


def check_rewards(settings: Any) -> None:
    """Refuse scorers that say what is known already, or that tables couldn't tell apart.

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
    names = [shown_name(spec) for spec in scorers]
    for at, name in enumerate(names):
        if name in names[:at]:
            same = scorers[names.index(name)] == scorers[at]
            way_out = "Leave one out" if same else "Give one of the folders another name"
            raise ValueError(f"scorers: {name!r} stands there twice. {way_out}")
