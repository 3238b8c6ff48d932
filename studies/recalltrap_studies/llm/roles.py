"""The settings that name models: which of them are read, and whose weights are taken as they are.

Light to import. What the models are like is `models`' business.
"""

from __future__ import annotations

from typing import Any

from recalltrap_studies.llm.models.architectures import SIZES, is_size
from recalltrap_studies.llm.stage_settings import ORACLE

MODEL_FIELDS = ("p_star", "p_prime", "p_second", "p_prime_aligned", "student", "p_target")
"""Settings that may name a model, in the order in which their vocabularies are compared."""
ALIGNED = frozenset({"p_prime", "p_second", "p_prime_aligned", "student"})
"""Settings of the models that are aligned, aligned to, or judged."""


def named_models(settings: Any) -> dict[str, str]:
    """field → spec of every model that these settings name and that something reads."""
    idle = {"student"} if settings.student_weights == "layers" else set[str]()
    if settings.reward != ORACLE:
        idle.add("p_target")
    specs = {field: getattr(settings, field) for field in MODEL_FIELDS if field not in idle}
    return {field: str(spec) for field, spec in specs.items() if spec is not None}


def taken_as_given(settings: Any) -> frozenset[str]:
    """The fields of the models whose weights are read; of the others the architecture alone is."""
    fields = {"p_second", "p_prime_aligned"}
    if settings.p_star is not None and not is_size(settings.p_star):
        fields.add("p_star")
    if settings.p_prime_weights == "given":
        fields.add("p_prime")
    if settings.student_weights == "given":
        fields.add("student")
    return frozenset(fields & named_models(settings).keys())


def check_given(settings: Any) -> None:
    """Refuse settings of given models that contradict each other.

    Raises:
        ValueError: names the settings and the way out.
    """
    if settings.p_star is None and settings.p_prime_weights != "given":
        raise ValueError(
            "p_star is null: p' is trained on its samples. Name a model, or set p_prime_weights: "
            "given, where p' is trained on nothing and judges precision itself"
        )
    for field in sorted(taken_as_given(settings)):
        spec = str(getattr(settings, field))
        if is_size(spec):
            raise ValueError(
                f"{field} {spec!r} is a size of ours ({', '.join(SIZES)}) and has no weights to be "
                "taken as given: name a folder, a hub id or a GGUF file"
                + (f", or leave {field}_weights at new" if field in ("p_prime", "student") else "")
            )
    for field in ("p_second", "p_prime_aligned"):
        if getattr(settings, field) is not None and settings.p_prime_weights != "given":
            raise ValueError(
                f"{field} comes from a p' that you have, and p_prime_weights is new: the study "
                f"would train another p'. Set p_prime_weights: given, or leave {field} out"
            )
    if settings.student_weights == "layers" and settings.student_layers is None:
        raise ValueError("student_weights is layers: set student_layers, how many layers of p'")
