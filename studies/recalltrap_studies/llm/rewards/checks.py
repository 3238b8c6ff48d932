"""What can be seen of rewards before anything starts: each can be had, and says what it must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from recalltrap.errors import InputError
from recalltrap_studies.llm.data.prompt_files import LongestPrompt
from recalltrap_studies.llm.models import architectures, folders
from recalltrap_studies.llm.models.families import number
from recalltrap_studies.llm.rewards.functions import find_function
from recalltrap_studies.llm.rewards.labels import check_stated, label_index
from recalltrap_studies.llm.rewards.values import REWARD, SCORERS, labelled, sort_of


def check_judges(settings: Any, longest: LongestPrompt) -> None:
    """Refuse a reward or a scorer that can't be had here, or that can't read what models say to
    the longest prompt. A hub id is judged by what is cached of it.

    Raises:
        InputError: naming the setting, its value and the way out.
    """
    check_functions(settings)
    for field, spec, label in classifiers(settings):
        try:
            _check_classifier(settings, field, spec, label, longest)
        except architectures.Unreachable:
            if architectures.is_folder(spec):
                raise  # a hub id that isn't cached is `check_access`' business


def check_functions(settings: Any) -> None:
    """Refuse functions that can't be had here, or not called.

    Raises:
        InputError: naming the setting, its value and the way out.
    """
    for field, spec, _ in _named(settings):
        if sort_of(spec) == "function":
            try:
                find_function(spec)
            except InputError as error:
                raise InputError(f"settings.{field}: {error}") from None


def check_access(settings: Any) -> None:
    """Refuse classifiers of the hub that can't be had now.

    Raises:
        InputError: it doesn't answer, or has no such model, and it isn't cached on this machine.
    """
    from recalltrap_studies.llm.rewards.classifier import look_at

    for field, spec, label in classifiers(settings):
        if not architectures.is_folder(spec):
            label_index(look_at(spec, field)[0], label, spec, field)


def _check_classifier(
    settings: Any, field: str, spec: str, label: str | None, longest: LongestPrompt
) -> None:
    # Imported with torch, which no study without a classifier waits for.
    from transformers import AutoModelForSequenceClassification as Classifier

    from recalltrap_studies.llm.models.pretrained import check_loadable
    from recalltrap_studies.llm.rewards.classifier import (
        blank_classifier,
        context_of,
        look_at,
    )

    config, tokenizer = look_at(spec, field, local_only=True)
    label_index(config, label, spec, field)
    if architectures.is_folder(spec):
        folder = Path(architectures.location(spec, field)[0])
        folders.check_weights(spec, field, folder, Classifier.__name__)
    limit = context_of(config, tokenizer)
    if limit is not None:
        check_reading(settings, field, spec, longest, limit)
    if architectures.is_folder(spec):
        blank_classifier(spec, field)
        check_loadable(Classifier, spec, field)


def check_classifier_files(settings: Any, longest: LongestPrompt) -> None:
    """Refuse classifiers in folders by what their files say alone.

    Raises:
        InputError: naming the setting, its value and the way out.
    """
    for field, spec, label in classifiers(settings):
        if architectures.is_folder(spec):
            folder = Path(architectures.location(spec, field)[0])
            folders.check_weights(spec, field, folder, "AutoModelForSequenceClassification")
            stated = folders.stated_config(spec, field, folder)
            check_stated(stated, label, spec, field)
            folders.check_tokenizer(spec, field, folder)
            if limit := number(SimpleNamespace(**stated), "max_position_embeddings"):
                check_reading(settings, field, spec, longest, limit)


def check_reading(settings: Any, field: str, spec: str, longest: LongestPrompt, limit: int) -> None:
    """Refuse a classifier that can't read what models say to the longest prompt.

    Raises:
        InputError: naming the setting, and the most that it reads.
    """
    if longest.tokens + settings.align_tokens > limit:
        prompt = f"{longest.tokens}{'' if longest.exact else ' or more'}"
        raise InputError(
            f"settings.{field} = {spec!r} reads {limit} tokens, and a prompt of {prompt} "
            f"with a response of settings.align_tokens = {settings.align_tokens} is longer. "
            "Shorten them, or give a classifier with a longer context"
        )


def _named(settings: Any) -> Iterator[tuple[str, str, str | None]]:
    """(field, value, label) of the reward and of the scorers."""
    yield REWARD, settings.reward, settings.reward_label
    for spec in settings.scorers:
        yield SCORERS, spec, None


def classifiers(settings: Any) -> Iterator[tuple[str, str, str | None]]:
    """(field, folder or hub id, label) of those that are classifiers."""
    for field, spec, label in _named(settings):
        if sort_of(spec) == "classifier":
            yield (field, spec, label) if field == REWARD else (field, *labelled(spec))
