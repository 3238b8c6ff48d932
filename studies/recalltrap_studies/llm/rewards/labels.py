"""What a configuration says of a classifier: that it is one, and what its logits are called.

Light: read of a file as well as of what transformers makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from recalltrap.errors import InputError, nearest
from recalltrap_studies.llm.models import families, folders

CLASSIFIER = "ForSequenceClassification"


def check_stated(stated: Mapping[str, Any], label: str | None, spec: str, field: str) -> None:
    """Refuse a folder's configuration that is no classifier's, or whose labels don't tell which
    logit is the reward, as far as they stand in it.

    Raises:
        InputError: see `check_class` and `label_index`.
    """
    check_class(SimpleNamespace(**stated), spec, field)
    named = stated.get("id2label")
    if named is None:
        return
    try:
        labels = {int(number): name for number, name in named.items()}
    except (AttributeError, TypeError, ValueError):
        reason = f"id2label = {named!r:.60} doesn't number labels"
        raise InputError(folders.unusable(spec, field, "configuration", reason)) from None
    if stated.get("num_labels", len(labels)) == len(labels):
        label_index(SimpleNamespace(id2label=labels), label, spec, field)


def check_class(config: Any, spec: str, field: str) -> None:
    """Refuse what states no class of sequence classifiers.

    Raises:
        InputError: says what it is, and what to give.
    """
    stated = families.stated_architectures(config)
    if not any(architecture.endswith(CLASSIFIER) for architecture in stated):
        raise InputError(
            f"settings.{field} = {spec!r}: its configuration says that it is "
            f"{', '.join(stated) or repr(config.model_type)}, which is no sequence classifier. "
            f"Give one whose `architectures` name a ...{CLASSIFIER}"
        )


def label_index(config: Any, label: str | None, spec: str, field: str) -> int:
    """The logit that is the reward.

    Raises:
        InputError: there are several and none is named, or none has that name; lists them.
    """
    labels = config.id2label
    names = [str(labels[index]) for index in sorted(labels)]
    way_out = f"settings.reward_label: {names[-1]!r}"
    if field != "reward":
        way_out = f"the scorer as {spec + '#' + names[-1]!r}"
    if label is None:
        if len(names) == 1:
            return 0
        raise InputError(
            f"settings.{field} = {spec!r}: it has {len(names)} labels ({', '.join(names)}), and "
            f"none of them is named. Set one, e.g. {way_out}"
        )
    if label not in names:
        raise InputError(
            f"settings.{field} = {spec!r}: it has no label {label!r}; {nearest(label, names)}"
        )
    return names.index(label)
