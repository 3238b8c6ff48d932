"""The paper's claims about language models (arXiv 2509.23667): C11 to C14."""

from __future__ import annotations

from recalltrap_analysis.claims.claim import Claim, set_to
from recalltrap_analysis.claims.claim_tests import each, higher, steadier
from recalltrap_analysis.claims.pool import ATTAINMENT
from recalltrap_analysis.language.recall_claim import recall_at_most_marginally_lower
from recalltrap_analysis.language.temperature_claim import TEMPERATURE, temperature

KIND = "llm"
LEAD, SPREADS = "attainment A-K − K-A", "sd(K-A) / sd(A-K)"

C11 = Claim(
    "C11",
    KIND,
    "Language model, PPO: A-K is better in reward, target precision and recall, and steadier",
    "attainment, A-K − K-A",
    each(
        higher(LEAD, ATTAINMENT, "target_precision", "overall_recall"),
        steadier(SPREADS, "reward"),
    ),
    "a language-model study with K-A and A-K aligned by PPO",
    fits=set_to("algorithm", "ppo"),
)
C12 = Claim(
    "C12",
    KIND,
    "Language model, DPO: A-K is better in reward and target precision, and steadier; K-A's "
    "recall is at most marginally higher",
    "attainment, A-K − K-A",
    each(
        higher(LEAD, ATTAINMENT, "target_precision"),
        steadier(SPREADS, "reward"),
        recall_at_most_marginally_lower,
    ),
    "a language-model study with K-A and A-K aligned by DPO",
    fits=set_to("algorithm", "dpo_online", "dpo_offline"),
)
C13 = Claim(
    "C13",
    KIND,
    "Even the intermediate p'_AK beats p''_KA in reward and target precision",
    "attainment, p'_AK − p''_KA",
    higher("attainment p'_AK − p''_KA", ATTAINMENT, "target_precision", intermediate=True),
    "a language-model study with K-A and A-K",
)
C14 = Claim(
    "C14",
    KIND,
    "The distillation temperature tunes precision against recall",
    "overall precision per unit of falling temperature, nats",
    temperature,
    "a language-model study over last_distill_temperature",
    fits=lambda point: TEMPERATURE in point,
)
