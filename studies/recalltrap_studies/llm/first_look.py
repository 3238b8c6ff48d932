"""What files tell by themselves, before torch and transformers are imported, which takes seconds.

`preflight` reads them again with the models' tokenizers: a good file is read twice, a bad one is
refused at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recalltrap_studies.llm.data import corpus
from recalltrap_studies.llm.data.preference_files import read_preferences
from recalltrap_studies.llm.data.prompt_files import read_prompts
from recalltrap_studies.llm.data.truth_files import read_truth
from recalltrap_studies.llm.models import architectures, folders
from recalltrap_studies.llm.rewards.checks import check_functions, classifiers
from recalltrap_studies.llm.roles import named_models, taken_as_given
from recalltrap_studies.llm.settings import LlmSettings


def check_files(settings: LlmSettings) -> None:
    """Refuse files of rows that can't be read, functions that can't be called, weights that are cut
    off or not to be read here.

    Raises:
        InputError: naming the setting, the file, the row and the way out.
    """
    given: Any = settings  # composed of the algorithms' parts
    if settings.prompts is not None:
        read_prompts(settings.prompts)
    if given.preferences is not None:
        read_preferences(given.preferences)
    if settings.truth is not None:
        read_truth(settings.truth)
    trained = settings.p_star is not None and architectures.is_size(settings.p_star)
    if trained and settings.corpus != corpus.GRAMMAR:
        corpus.check_documents(settings.corpus)
    check_functions(settings)
    taken = taken_as_given(settings)
    for field, spec in named_models(settings).items():
        if field in taken and architectures.is_folder(spec):
            folders.check_weights(spec, field, _folder(spec, field))
    for field, spec, _ in classifiers(settings):
        if architectures.is_folder(spec):
            model = "AutoModelForSequenceClassification"
            folders.check_weights(spec, field, _folder(spec, field), model)


def _folder(spec: str, field: str) -> Path:
    return Path(architectures.location(spec, field)[0])
