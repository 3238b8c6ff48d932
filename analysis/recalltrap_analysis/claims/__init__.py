"""The claims ledger: the paper's claims C1 to C14, computed from runs' tables."""

from recalltrap_analysis.claims.ledger import CLAIMS, Claim, ledger
from recalltrap_analysis.claims.verdict import ClaimVerdict, Finding, Verdict

__all__ = ["CLAIMS", "Claim", "ClaimVerdict", "Finding", "Verdict", "ledger"]
