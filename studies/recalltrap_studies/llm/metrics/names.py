"""What the language study's metrics are called, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from recalltrap import kind
from recalltrap.kind import Metric

METRICS: Mapping[str, Metric] = {
    **kind.METRICS,
    **{
        name: replace(kind.METRICS[name], unit="nats per token")
        for name in ("target_precision", "overall_recall", "overall_precision")
    },
    "reward_supremum": Metric("largest reward"),
    "optimum_ess": Metric("effective sample size of the optimum"),
    "topic_coverage": Metric("topics covered"),
    "topic_share/*": Metric("share of topic"),
    "target_topic_share/*": Metric("share of topic in the target"),
    "topic_weight/*": Metric("weight of topic in the optimum"),
    "optimum_topic_share/*": Metric("share of topic in the optimum"),
    "grammatical": Metric("grammatical"),
    "group_recall/*": Metric("recall of group", "nats per token"),
    "length": Metric("length", "tokens"),
    "eos_rate": Metric("ended by EOS"),
    "heldout_loss": Metric("held-out loss", "nats per token"),
    "teacher_entropy": Metric("teacher's entropy", "nats per token"),
    "distillation_gap": Metric("distillation gap", "nats per token"),
    "selected_step": Metric("selected checkpoint", "updates"),
}
