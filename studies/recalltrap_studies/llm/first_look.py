"""What files tell by themselves, before torch and transformers are imported, which takes seconds.

`preflight` reads them again with the models' tokenizers: a good file is read twice, a bad one is
refused at once. Without a tokenizer words are counted, of which no text has more than tokens: what
is too long here is too long there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from recalltrap_studies.llm.data import corpus
from recalltrap_studies.llm.data.preferences import check_preferences
from recalltrap_studies.llm.data.truth import check_truth
from recalltrap_studies.llm.models import architectures, folders
from recalltrap_studies.llm.models.families import number
from recalltrap_studies.llm.prompt_checks import check_context, check_prompts
from recalltrap_studies.llm.rewards.checks import check_classifier_files, check_functions
from recalltrap_studies.llm.roles import ALIGNED, named_models, taken_as_given
from recalltrap_studies.llm.settings import LlmSettings


def check_files(settings: LlmSettings) -> None:
    """Refuse files of rows that can't be read, functions that can't be called, models whose files
    can't be, weights that are cut off or not to be read here, and texts that no model can read.

    Raises:
        InputError: naming the setting, the file, the row and the way out.
    """
    trained = settings.p_star is not None and architectures.is_size(settings.p_star)
    grammar = trained and settings.corpus == corpus.GRAMMAR
    longest = check_prompts(settings, None, trained_here=trained, grammar=grammar)
    if trained and not grammar:
        corpus.check_documents(settings.corpus)
    check_functions(settings)
    contexts, specs = _contexts(settings), named_models(settings)
    for field, context in contexts.items():
        check_context(settings, longest, f"{field} = {specs[field]!r}", context)
    _check_rows(settings, contexts)
    check_classifier_files(settings, longest)


def _check_rows(settings: LlmSettings, contexts: Mapping[str, int]) -> None:
    """Refuse files of preferences and of truth; contexts are by the settings that name models."""
    given: Any = settings  # composed of the algorithms' parts
    # Of the shortest alone: what another could read is told by tokens.
    least = min(ALIGNED & contexts.keys(), key=lambda field: contexts[field], default=None)
    read = {} if least is None else {least: contexts[least]}
    if given.preferences is not None:
        check_preferences(given.preferences, None, settings.align_tokens, read,
                          given.preferences_unusable)  # fmt: skip
    if settings.truth is not None:
        check_truth(settings.truth, None, read)


def _contexts(settings: LlmSettings) -> dict[str, int]:
    """The contexts of models by the settings that name them, of those whose files state one.

    Raises:
        InputError: a folder's files are those of no model.
    """
    contexts: dict[str, int] = {}
    taken = taken_as_given(settings)
    for field, spec in named_models(settings).items():
        context: int | None = None
        if architectures.is_size(spec):
            context = architectures.SIZES[spec].context
        elif architectures.is_folder(spec):
            context = _stated_context(spec, field, with_weights=field in taken)
        if context is not None:
            contexts[field] = context
    return contexts


def _stated_context(spec: str, field: str, *, with_weights: bool) -> int | None:
    """The context that a folder states; None where it states none.

    Raises:
        InputError: its weights, its configuration or its tokenizer can't be read, or don't belong
            together.
    """
    folder = Path(architectures.location(spec, field)[0])
    if with_weights:
        folders.check_weights(spec, field, folder)
    stated = SimpleNamespace(**folders.stated_config(spec, field, folder))
    tokens, embeddings = folders.check_tokenizer(spec, field, folder), number(stated, "vocab_size")
    if tokens and embeddings and tokens > embeddings:
        raise folders.strangers(spec, field, tokens, embeddings)
    return number(stated, "max_position_embeddings")
