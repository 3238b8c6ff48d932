"""A claim as data, and the claims that the installed packages register.

Each stands under the entry point group `recalltrap.claims`, by its id.
"""

from __future__ import annotations

from dataclasses import dataclass

from recalltrap.errors import InputError
from recalltrap.registry import registered
from recalltrap_analysis.claims.claim_tests import ClaimTest
from recalltrap_analysis.claims.pool import Where

GROUP = "recalltrap.claims"


@dataclass(frozen=True)
class Claim:
    """What somebody says of a kind of study: the settings it speaks of, and its test.

    `effect_name` says what the effect is that the test gives, and `needs` what study would test
    the claim.
    """

    id: str
    kind: str
    text: str
    effect_name: str
    judge: ClaimTest
    needs: str
    fits: Where = lambda point: True
    any_baseline: bool = False
    """Whether runs that don't list the claim may serve as its baseline."""


def set_to(setting: str, *values: str) -> Where:
    """Whether a setting has one of the values, or isn't there."""
    return lambda point: point.get(setting, values[0]) in values


def registered_claims() -> list[Claim]:
    """Every claim, in the order of their numbers: `C2` before `C10`.

    Raises:
        InputError: one fails to import, or is registered under another name than its id.
    """
    points = registered(GROUP)
    claims = []
    for name in sorted(points, key=lambda name: (len(name), name)):
        try:
            claim = points[name].load()
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"the claim {name} ({points[name].value}) can't be imported: {error}. "
                "Reinstall the package that provides it"
            ) from error
        if claim.id != name:
            raise InputError(f"the claim {claim.id} is registered as {name}: give it one name")
        claims.append(claim)
    return claims
