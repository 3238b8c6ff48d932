"""The paper's claims about mixtures (arXiv 2509.23667): C1 to C10."""

from __future__ import annotations

from recalltrap_analysis.claims.claim import Claim, set_to
from recalltrap_analysis.claims.claim_tests import each, higher, steadier
from recalltrap_analysis.claims.pool import ATTAINMENT
from recalltrap_analysis.mixture import claim_tests

KIND = "mog"
ON_POLICY = set_to("algorithm", "ppo", "grpo", "dpo_online")
OFF_POLICY = set_to("algorithm", "dpo_offline")
SPREADS = "sd(K-A) / sd(A-K)"
_PAIR = "a mixture study with K-A and A-K"

C1 = Claim(
    "C1",
    KIND,
    "A-K has the higher reward, at almost every kl_weight",
    "attainment, A-K − K-A, where it is largest",
    higher("attainment A-K − K-A", ATTAINMENT, rises=True),
    f"{_PAIR} over kl_weight, e.g. mog/ppo-beta",
)
C2 = Claim(
    "C2",
    KIND,
    "A-K has the higher target precision",
    "target precision, A-K − K-A, where it is largest, nats",
    higher("target precision A-K − K-A", "target_precision", rises=True),
    f"{_PAIR} over kl_weight, e.g. mog/ppo-beta",
)
C3 = Claim(
    "C3",
    KIND,
    "A-K varies less over seeds (on-policy algorithms)",
    "sd(K-A) / sd(A-K), reward",
    steadier(SPREADS, "reward"),
    f"{_PAIR} and PPO, GRPO or on-policy DPO, e.g. mog/ppo-beta",
    fits=ON_POLICY,
)
C4 = Claim(
    "C4",
    KIND,
    "Misleading recall: at kl_weight ≥ 1 K-A can have the higher recall with the "
    "lower target precision",
    "overall recall, K-A − A-K, where it is largest, nats",
    claim_tests.higher_recall_lower_precision,
    f"{_PAIR} at kl_weight ≥ 1, e.g. mog/ppo-beta",
)
C5 = Claim(
    "C5",
    KIND,
    "More iterations don't rescue K-A",
    "attainment, A-K − K-A, at the longest alignment",
    claim_tests.longer_alignment_does_not_help,
    f"{_PAIR} over iterations, e.g. mog/ppo-iterations",
)
C6 = Claim(
    "C6",
    KIND,
    "Stricter compression (3 components instead of 4) makes K-A less stable",
    "sd of K-A with 3 components / with 4, reward",
    claim_tests.smaller_student_varies_more,
    "a mixture study with K-A over student_components 3 and 4, e.g. mog/ppo-beta",
)
C7 = Claim(
    "C7",
    KIND,
    "A-K has the higher overall precision, with lower variance",
    "overall precision, A-K − K-A, where it is largest, nats",
    each(
        higher("overall precision A-K − K-A", "overall_precision", rises=True),
        steadier(SPREADS, "overall_precision"),
    ),
    f"{_PAIR}, e.g. mog/ppo-beta",
)
C8 = Claim(
    "C8",
    KIND,
    "Off-policy DPO: comparable variance, and A-K's recall is higher",
    "overall recall, A-K − K-A, nats",
    claim_tests.comparable_variance_higher_recall,
    f"{_PAIR} and off-policy DPO, e.g. mog/dpo-offline-beta",
    fits=OFF_POLICY,
)
C9 = Claim(
    "C9",
    KIND,
    "With two targets the variance grows, more so in K-A",
    "sd of K-A with two targets / with one, reward",
    claim_tests.variance_grows_with_targets,
    "a two-target study together with its one-target twin, e.g. mog/two-targets-ppo and "
    "mog/ppo-beta",
    any_baseline=True,
)
C10 = Claim(
    "C10",
    KIND,
    "p' covers more than p'' and hits the high-reward region at least twice as often",
    "overall recall, p' − p'', nats",
    claim_tests.references_recall_and_hit_rate,
    "any mixture study, e.g. mog/figure2",
)
