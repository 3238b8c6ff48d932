"""What can be seen of rewards before anything starts: each can be had, and says what it must."""

from __future__ import annotations

from typing import Any

from recalltrap.errors import InputError
from recalltrap_studies.llm.rewards.functions import find_function
from recalltrap_studies.llm.rewards.values import REWARD, SCORERS, sort_of


def check_judges(settings: Any) -> None:
    """Refuse a reward or a scorer that can't be had here.

    Raises:
        InputError: naming the setting, its value and the way out.
    """
    named = [(REWARD, settings.reward), *((SCORERS, spec) for spec in settings.scorers)]
    for field, spec in named:
        if sort_of(spec) == "function":
            try:
                find_function(spec)
            except InputError as error:
                raise InputError(f"settings.{field}: {error}") from None
