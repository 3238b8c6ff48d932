"""The language-model study of arXiv 2509.23667: both orderings on the SmolLM2 family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recalltrap_studies.llm.kind import KIND

__all__ = ["KIND"]


def __getattr__(name: str) -> Any:
    if name == "KIND":
        from recalltrap_studies.llm.kind import KIND

        return KIND
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
