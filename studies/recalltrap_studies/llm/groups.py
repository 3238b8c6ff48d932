"""GRPO and RLOO as a stage, by TRL: groups of responses to the one prompt.

Both maximise E[R] - kl_weight * KL(policy || reference), as PPO does, without a critic: GRPO with
the group's mean as baseline and the KL in the loss (Dr. GRPO: no division by the group's deviation
or a response's length), RLOO with the others' mean and the KL in the reward. Responses are drawn
by our own engine, so that the seed's random numbers are PPO's too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

from datasets import Dataset  # type: ignore[import-untyped]
from transformers import PreTrainedTokenizerBase
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from recalltrap.errors import InputError
from recalltrap.group import Group
from recalltrap.kinds import Node, Progress
from recalltrap.store import ArtifactStore
from recalltrap_studies.llm import settings as parts
from recalltrap_studies.llm.alignment import run_on_policy
from recalltrap_studies.llm.iterations import Iterated
from recalltrap_studies.llm.policies import Policy
from recalltrap_studies.llm.rollouts import World
from recalltrap_studies.llm.vocabulary import read_tokenizer


def run_group(node: Node, store: ArtifactStore, group: Group) -> Iterator[Progress]:
    """Align the node's first parent by GRPO or RLOO; see `alignment.run_on_policy`."""
    cls = TRAINERS[str(node.config["algorithm"])]
    tokenizer = read_tokenizer(store, node.parents[0])
    trainer = cast(Any, partial(cls, tokenizer=tokenizer))
    yield from run_on_policy(node, store, group, parts.Group, trainer)


class Grouped(Iterated):
    """Mixed in before GRPO's and RLOO's trainer: draws, judges and logs."""

    configuration_class: ClassVar[Any]
    specific: ClassVar[dict[str, Any]]

    def __init__(
        self,
        policy: Policy,
        world: World,
        settings: parts.Group,
        *,
        seed: int,
        group: Group,
        scratch: Path,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.begin(policy, world, settings, seed, group, scratch)
        if settings.rollout_size % group.size:
            raise InputError(
                f"settings.rollout_size = {settings.rollout_size} can't be shared by {group.size} "
                "workers: choose a multiple, or fewer workers"
            )
        args = self.configuration(
            self.configuration_class,
            settings.minibatch_size,
            num_generations=settings.group_size,
            generation_batch_size=settings.rollout_size,
            max_completion_length=world.request.max_new_tokens,
            shuffle_dataset=False,
            temperature=1.0,
            **self.specific,
        )
        prompts = ["prompt"] * (settings.iterations * settings.rollout_size // settings.group_size)
        with tempfile.TemporaryDirectory() as folder:  # TRL reads the reference from a disk
            world.reference.save_pretrained(folder)  # type: ignore[operator]
            policy.lm.config.name_or_path = folder
            start: Any = super().__init__  # TRL's
            start(
                model=policy.lm,
                reward_funcs=self.rewards,
                args=args,
                train_dataset=Dataset.from_dict({"prompt": prompts}),
                processing_class=tokenizer,
            )
            policy.lm.config.name_or_path = ""

    def start_iteration(self, index: int) -> None:
        """Drawing waits until TRL asks for completions."""

    def rewards(self, completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        """The oracle's rewards of the completions that were drawn last."""
        assert self._rollout is not None
        mine = self._mine()
        drawn = self._rollout.mask_NT[mine].sum(dim=1).tolist()
        assert [len(ids) for ids in completion_ids] == drawn
        return [float(reward) for reward in self._rollout.reward_N[mine]]

    def _mine(self) -> slice:
        each = self.settings.rollout_size // self.group.size
        return slice(self.group.rank * each, (self.group.rank + 1) * each)

    def _tokenize_prompts(self, prompts: Sequence[str]) -> tuple[Any, None, dict[str, Any]]:
        return [list(self.policy.prompt_ids) for _ in prompts], None, {}

    def _drawn(self) -> list[list[int]]:
        rollout, mine = self.draw(self.iteration), self._mine()
        rows = zip(rollout.tokens_NT[mine], rollout.mask_NT[mine], strict=True)
        return [tokens[mask].tolist() for tokens, mask in rows]


class GrpoTrainer(Grouped, GRPOTrainer):
    """GRPO; the KL is estimated per token by k3, whose mean over the policy is the KL."""

    configuration_class = GRPOConfig
    specific: ClassVar = {"scale_rewards": "none", "loss_type": "dr_grpo"}

    def _generate_single_turn(self, *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        return self._drawn(), None


class RlooTrainer(Grouped, RLOOTrainer):
    """RLOO; the KL of a response is summed over its tokens and taken off its reward."""

    configuration_class = RLOOConfig
    specific: ClassVar = {"normalize_advantages": False}

    def _generate_single_turn(self, *_: Any, **__: Any) -> list[list[int]]:
        return self._drawn()


TRAINERS: dict[str, type[Grouped]] = {"grpo": GrpoTrainer, "rloo": RlooTrainer}
